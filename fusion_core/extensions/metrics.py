"""Metrics of the user's own: how they are defined, found and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from fusion_core.choices import Channels, ScoreColour
from fusion_core.errors import ExtensionError, InvalidValueError
from fusion_core.extensions.code import CodeOrigin, Extension, pack
from fusion_core.extensions.entry_points import (
    EntryPointGroup,
    find_entry_point,
    list_entry_points,
)
from fusion_core.extensions.metric_definitions import GuardedScore
from fusion_core.extensions.names import Target, parse_target
from fusion_core.metrics.libraries.measures import is_measure
from fusion_core.metrics.metric import Metric
from fusion_core.metrics.presets import PRESETS, select_channels, select_metrics
from fusion_core.metrics.registry import METRICS, adopt_metric
from fusion_core.suggestions import unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_core.metrics.base import ScoredBatch

_GROUP: EntryPointGroup = "irfuse.metrics"
_UNDEFINED = "it returned NaN"


@dataclass(frozen=True, slots=True)
class FoundMetric:
    """A metric of the user's own, and its code."""

    metric: Metric
    extension: Extension


@dataclass(frozen=True, slots=True)
class MetricChoice:
    """The metrics that are computed."""

    names: list[str]
    """Names of the columns, in their order; those of the user's own come last."""
    channels: dict[str, Channels]
    """Metrics of colour images that are computed of something else than the luma."""
    own: dict[str, FoundMetric]
    """Metrics of the user's own, by the names of their columns."""


class MetricRecord(BaseModel):
    """A metric of the user's own, as `run.json` records it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    origin: CodeOrigin
    """Its code."""
    title: str
    """Meaning in a few words."""
    higher_is_better: bool | None
    """Whether a better fused image has a higher value; None if neither direction is better."""
    range: str
    """Range of the values."""
    unit: str
    """Unit of the values."""
    undefined: str
    """When the definition gives no value."""
    decimals: int
    """Digits after the decimal point in tables."""

    @classmethod
    def of(cls, found: FoundMetric) -> MetricRecord:
        """Return the record of a metric."""
        names = cls.model_fields.keys() - {"origin"}
        return cls(
            origin=found.extension.origin, **{name: getattr(found.metric, name) for name in names}
        )

    def to_metric(self, name: str) -> Metric:
        """Return the description of the metric for tables, which cannot compute it."""

        def refuse(batch: ScoredBatch) -> Tensor:
            raise ExtensionError(f"The code of the metric {name} is not loaded")

        traits = self.model_dump(exclude={"origin"})
        return Metric(name=name, score_batch=refuse, paper=None, **traits)


def choose_metrics(
    names: Sequence[str] | None, colour: ScoreColour = "luma", *, reference: bool = False
) -> MetricChoice:
    """Find metrics of irfuse and of the user's own, which this process then knows.

    Args:
        names: Names of metrics and presets, of measures of other libraries such as `pyiqa:lpips`,
            of entry points, `MODULE:NAME` and `FILE.py:NAME`; None for the default.
        colour: What metrics of colour images are computed of, as in `select_channels`.
        reference: Whether there are reference images.

    Raises:
        InvalidValueError: A name is unknown, or two metrics have the same column.
        ExtensionError: A metric cannot be loaded.
    """
    plain: list[str] | None = None if names is None else []
    own: dict[str, FoundMetric] = {}
    for name in dict.fromkeys(names or ()):
        if plain is not None and (name in METRICS or name in PRESETS or is_measure(name)):
            plain.append(name)
            continue
        found = find_own_metric(name)
        if found.metric.name in own:
            raise InvalidValueError(f"Two metrics have the name {found.metric.name!r}; rename one")
        own[found.metric.name] = found
    columns = [*select_metrics(plain, reference=reference), *own]
    channels = select_channels(plain, colour, reference=reference)
    if colour == "per_channel":
        channels |= dict.fromkeys(own, "per_channel")
    for found in own.values():
        adopt_metric(found.metric)
    return MetricChoice(columns, channels, own)


def find_own_metric(name: str) -> FoundMetric:
    """Return the metric of the user's own that a name stands for.

    Raises:
        InvalidValueError: There is no such metric; the message suggests similar names.
        ExtensionError: It cannot be loaded.
    """
    extension = pack(find_metric_target(name), _GROUP)
    return FoundMetric(load_metric(extension), extension)


def find_metric_target(name: str) -> Target:
    """Return what the name of a metric stands for that is not one of irfuse.

    Raises:
        InvalidValueError: The name has none of the known forms, or is that of no installed package;
            the message suggests similar names.
    """
    target = parse_target(name)
    if target.kind == "entry_point" and find_entry_point(_GROUP, name) is None:
        known = [*METRICS, *PRESETS, *list_entry_points(_GROUP)]
        raise InvalidValueError(unknown_name("metric", name, known))
    if target.kind not in ("entry_point", "module", "file"):
        raise InvalidValueError(f"Expected a function, but {target.name} is a model file")
    return target


def load_metric(extension: Extension, *, sent: bool = False) -> Metric:
    """Load a metric of the user's own.

    Args:
        extension: Its code.
        sent: Whether this process has received the code from another one.

    Returns:
        Its description, whose function checks the values, and leaves the global state of the
        process as it was.

    Raises:
        ExtensionError: It cannot be loaded, is no metric, or has the name of a metric of irfuse.
    """
    found = extension.load(_GROUP, sent=sent)
    if not isinstance(found, Metric):
        raise ExtensionError(
            f"Cannot load {extension.name}: expected a function of (ir, vis, fused) with the "
            "decorator @irfuse.metric(higher_is_better=True, range=(0, 1)), but got "
            f"{type(found).__name__}"
        )
    if found.name in METRICS or found.name in PRESETS or is_measure(found.name):
        raise ExtensionError(
            f"Cannot load {extension.name}: {found.name} is the name of a metric or preset of "
            "irfuse; give another one, as in @irfuse.metric(name=…)"
        )
    return replace(
        found, score_batch=GuardedScore(found.score_batch), undefined=found.undefined or _UNDEFINED
    )
