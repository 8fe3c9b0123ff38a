"""Metrics of the user's own: how they are defined, found and recorded."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from fusion_core.choices import Channels, ScoreColour
from fusion_core.errors import ContractError, ExtensionError, InvalidValueError
from fusion_core.extensions.code import CodeOrigin, Extension, pack
from fusion_core.extensions.entry_points import (
    EntryPointGroup,
    find_entry_point,
    list_entry_points,
)
from fusion_core.extensions.names import parse_target
from fusion_core.metrics.libraries.measures import is_measure
from fusion_core.metrics.metric import Metric
from fusion_core.metrics.presets import PRESETS, select_channels, select_metrics
from fusion_core.metrics.registry import METRICS, adopt_metric
from fusion_core.papers import Paper
from fusion_core.suggestions import unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_core.metrics.base import ScoredBatch

_GROUP: EntryPointGroup = "irfuse.metrics"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
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


@dataclass(frozen=True, slots=True)
class PairScore:
    """Computes a metric of a batch with a function of the three images of one pair."""

    function: Callable[..., Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        import torch

        images = batch.gray.cpu().numpy()
        values = [_to_number(self.function(*images[:, n].copy())) for n in range(images.shape[1])]
        return torch.tensor(values, dtype=torch.float64, device=batch.gray.device)


@dataclass(frozen=True, slots=True)
class BatchScore:
    """Computes a metric of a batch with a function of batches."""

    function: Callable[..., Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        values = self.function(*batch.gray.unsqueeze(2).clone())
        return check_values(values, batch.gray.shape[1])


@dataclass(frozen=True, slots=True)
class GuardedScore:
    """Computes a metric in a way that leaves the state of the process as it was."""

    score: Callable[[ScoredBatch], Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        from fusion_core.extensions.guarding import restored_state  # imports torch

        with restored_state():
            return check_values(self.score(batch), batch.gray.shape[1])


def metric(
    *,
    higher_is_better: bool | None,
    range: tuple[float, float] | str,
    name: str | None = None,
    title: str = "",
    unit: str = "1",
    paper: Paper | str | None = None,
    undefined: str = "",
    decimals: int = 4,
    batch: bool = False,
) -> Callable[[Callable[..., Any]], Metric]:
    """Define a quality metric of fused images.

    The decorated function takes the infrared, the visible and the fused image as `ir`, `vis` and
    `fused`: NumPy arrays `(H, W)` of gray levels, uint8. It returns a number, or NaN where the
    metric is undefined.

    Args:
        higher_is_better: Whether a better fused image has a higher value; None if neither.
        range: Least and greatest value, which may be infinite.
        name: Name of the column; by default that of the function.
        title: Meaning in a few words; by default the first line of the function's docstring.
        unit: Unit of the values; `1` if they have none.
        paper: Publication that defines the metric: a `Paper`, or a citation.
        undefined: When the metric has no value; the reason in rows where it returned NaN.
        decimals: Digits after the decimal point in tables.
        batch: Whether the function takes uint8 tensors `(B, 1, H, W)` on the device that computes,
            and returns a tensor `(B,)`.

    Returns:
        A decorator that replaces the function by the description of the metric.

    Raises:
        InvalidValueError: The name is not one of letters, digits and underscores, or the function
            has other arguments.

    >>> @metric(higher_is_better=True, range=(0, 255))
    ... def brightness(ir, vis, fused):
    ...     return fused.mean()
    >>> brightness.name, brightness.range
    ('brightness', '0..255')
    """

    def describe(function: Callable[..., Any]) -> Metric:
        column = name or str(getattr(function, "__name__", ""))
        if not _NAME.fullmatch(column):
            raise InvalidValueError(
                f"Expected a name of letters, digits and underscores that begins with a letter, "
                f"but got {column!r}"
            )
        if not _takes_three_images(function):
            raise InvalidValueError("Expected a function of (ir, vis, fused)")
        first_line = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        limits = range if isinstance(range, str) else f"{range[0]:g}..{range[1]:g}"
        return Metric(
            name=column,
            title=title or first_line or column,
            score_batch=BatchScore(function) if batch else PairScore(function),
            higher_is_better=higher_is_better,
            range=limits,
            unit=unit,
            paper=Paper.from_text(paper) if isinstance(paper, str) else paper,
            undefined=undefined,
            decimals=decimals,
        )

    return describe


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
    target = parse_target(name)
    if target.kind == "entry_point" and find_entry_point(_GROUP, name) is None:
        known = [*METRICS, *PRESETS, *list_entry_points(_GROUP)]
        raise InvalidValueError(unknown_name("metric", name, known))
    if target.kind not in ("entry_point", "module", "file"):
        raise InvalidValueError(f"Expected a function, but {target.name} is a model file")
    extension = pack(target, _GROUP)
    return FoundMetric(load_metric(extension), extension)


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


def check_values(values: object, count: int) -> Tensor:
    """Check what a metric returned for a batch: `(B,)`.

    Raises:
        ContractError: It is no tensor of one number per pair.
    """
    import torch

    if not isinstance(values, torch.Tensor) or values.is_complex():
        raise ContractError(f"The metric must return a tensor of numbers, but got {type(values)}")
    if values.shape != (count,):
        raise ContractError(
            f"The metric returned a tensor of shape {tuple(values.shape)} for {count} pairs, but "
            f"must return {(count,)}"
        )
    return values.to(torch.float64)


def _to_number(value: Any) -> float:  # noqa: ANN401
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        got = repr(type(value).__name__) if shape is None else f"an array of shape {tuple(shape)}"
        raise ContractError(f"The metric must return a number, but got {got}") from None


def _takes_three_images(function: Callable[..., Any]) -> bool:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return names == ["ir", "vis", "fused"]
