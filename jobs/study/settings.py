"""What a study consists of: its collections, methods, metrics, and how they are compared.

These models are the tables of a study file, and the content of `study.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fusion_core.choices import ScoreColour, SixteenBit
from fusion_core.metrics import find_metric
from jobs.options import ImageOptions, SourceOptions

Correction = Literal["holm", "bh", "none"]
Block = Literal["pair", "group"]

_NAME = re.compile(r"[\w(][\w .,;=+()@-]*")
_LONGEST_NAME = 80


def check_name(name: str) -> str:
    """Return a name that can be a folder, a file name and the name of a row.

    Raises:
        ValueError: It is empty, too long, or has other characters.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name.endswith((" ", ".")):
        raise ValueError(
            f"Expected a name of at most {_LONGEST_NAME} letters, digits, spaces and "
            f".,;=+()@-_ that begins with a letter or digit, but got {name!r}"
        )
    return name


Name = Annotated[str, AfterValidator(check_name)]


def _as_table(given: Any) -> Any:  # noqa: ANN401
    return {"source": given} if isinstance(given, str) else given


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StudyCollection(SourceOptions, ImageOptions):
    """A collection of pairs, with the options of `irfuse run` that select and read them."""


class StudyMethod(_Settings):
    """A row of the tables: a fusion method with its parameters, or existing fused images."""

    method: str | None = None
    """Fusion method; `irfuse methods` lists them."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the method."""
    weights: str | None = None
    """Weight file, the name of torchvision weights, or random:SEED, as in `irfuse run`."""
    trust_code: str | None = None
    """First digits of the SHA-256 of a model file that executes code, as in `irfuse run`."""
    fused: str | dict[str, str] | None = None
    """Folder of existing fused images, or one folder per collection. One folder for several
    collections has a folder for each of them, and collections without one are not given."""
    sixteen_bit: SixteenBit = "percentile"
    """Range of 16-bit images that is mapped to 8 bits before existing fused images are scored."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.method is None) == (self.fused is None):
            raise ValueError("Expected either method or fused")
        if self.fused is not None and (self.params or self.weights):
            raise ValueError("params and weights are for a method, but fused is given")
        return self

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return (self.weights or "").startswith("random:")


class MetricSettings(_Settings):
    """The metrics of a study."""

    names: tuple[str, ...] | None = None
    """Names of metrics and presets; the preset `default` by default."""
    score_colour: ScoreColour = "luma"
    """What metrics of colour images are computed of, as in `irfuse run`."""


class StatisticsSettings(_Settings):
    """How methods are compared."""

    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Significance level of the tests; the intervals cover 1 - alpha."""
    correction: Correction = "holm"
    """Correction of p-values for the verdicts: `holm` over the pairs of methods within a metric and
    collection, `bh` over the whole study, or `none`."""
    block: Block = "pair"
    """What is independent: each `pair`, or each `group` (the subsets of a collection, such as the
    sequences of videos), whose pairs are averaged before the tests."""
    resamples: int = Field(default=2000, ge=200, le=1_000_000)
    """Resamples of the bootstrap intervals."""
    seed: int = Field(default=0, ge=0)
    """Seed of the resamples."""
    max_failure_rate: float = Field(default=0.1, ge=0.0, le=1.0)
    """Largest share of failed pairs with which a method is compared in a collection."""


class ReportSettings(_Settings):
    """What the report shows."""

    baseline: str | None = None
    """Method with which all others are compared in the first place; by default the best one."""
    pictures: int = Field(default=6, ge=0, le=24)
    """Pairs per collection that are shown as pictures."""
    title: str | None = None
    """Title of the report."""


class PublishedRow(_Settings):
    """Published mean values of a method, which the tables show beside the computed ones."""

    label: str
    """Name of the method as published; of a method of the study, deviations are shown."""
    values: dict[str, float]
    """Metric to published mean."""
    source: str
    """The publication, such as `Li & Wu 2019, Table II`."""
    collection: str | None = None
    """Collection that the values belong to; not needed if the study has only one."""

    @model_validator(mode="after")
    def _has_known_metrics(self) -> Self:
        unknown = [name for name in self.values if find_metric(name) is None]
        if unknown:
            raise ValueError(f"Unknown metric: {', '.join(unknown)}")
        return self


class StudySettings(_Settings):
    """The content of a study file."""

    collections: dict[Name, Annotated[StudyCollection, BeforeValidator(_as_table)]] = Field(
        default_factory=dict
    )
    """The collections by name: a source, or a table of options."""
    methods: dict[Name, StudyMethod] = Field(default_factory=dict)
    """The methods by their names in tables."""
    metrics: MetricSettings = MetricSettings()
    """The metrics."""
    statistics: StatisticsSettings = StatisticsSettings()
    """How methods are compared."""
    report: ReportSettings = ReportSettings()
    """What the report shows."""
    published: tuple[PublishedRow, ...] = ()
    """Published values."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for names in (self.collections, self.methods):
            _check_distinct(names)
        for label, method in self.methods.items():
            folders = method.fused if isinstance(method.fused, dict) else {}
            for collection in folders:
                if collection not in self.collections:
                    raise ValueError(
                        f"methods.{label}.fused names the collection {collection!r}, which the "
                        "study does not have"
                    )
        return self


def _check_distinct(names: Mapping[str, object]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(f"{other!r} and {name!r} differ in letter case alone; rename one")
