"""Options of the commands `irfuse study`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from jobs.options.common import (
    DryRunOptions,
    Flag,
    Json,
    KeyValues,
    LocationOptions,
    MonitoredOptions,
    Names,
)
from jobs.study.settings import Block, Correction


class StudyRunOptions(MonitoredOptions, DryRunOptions):
    """Run every method of a study on every collection, and compare them in OUT/report.html.

    STUDY is a study file (.toml), one of the papers' tables (paper:NAME), or the folders of one or
    more collections. Every method on a collection is a run of its own below OUT/runs, and all are
    computed in one Ray session. Run the same command again to resume after any interruption; a
    study may grow by collections and methods.
    """

    sources: Annotated[tuple[str, ...], Parameter(name="study", show_default=False)] = ()
    """Study file (.toml), paper:NAME, or folders and manifests of collections."""
    out: Annotated[str, Parameter(name=("--out", "-o"))]
    """Output location of the study: a folder or s3://bucket/prefix."""
    methods: Annotated[Names, Parameter(show_default=False)] = ()
    """Methods to add to the study, separated by commas, with their default parameters."""
    fused: KeyValues = Field(default_factory=dict)
    """Folder of existing fused images as LABEL=FOLDER, repeated for each method. For several
    collections, the folder contains one folder for each of them."""
    collections: KeyValues = Field(default_factory=dict)
    """Source of a collection as NAME=SOURCE, repeated for each; replaces that of the study file."""
    metrics: Names | None = None
    """Metrics and presets, separated by commas; those of the study file, or the preset `default`,
    by default."""
    only: Annotated[Names, Parameter(show_default=False)] = ()
    """Compute only these methods or collections now, separated by commas."""
    retry_failed: Flag = False
    """Compute failed pairs again."""
    untrained: Flag = False
    """Accept methods with untrained weights, which are marked in every table."""
    embed: bool = True
    """Put the pictures into report.html; otherwise into files beside it."""


class StudyAddOptions(LocationOptions):
    """Take finished runs into the study at OUT, which is created if there is none.

    The runs of `irfuse run` and `irfuse score` are copied to OUT/runs. They must have the pairs of
    their collection, the metrics of the study, and the versions of irfuse and torch.
    """

    out: str
    """Output location of the study."""
    runs: tuple[str, ...] = Field(min_length=1)
    """Output locations of finished runs."""


class StudyStatusOptions(LocationOptions):
    """Show which cells of the study at OUT are finished: methods by collections."""

    out: str
    """Output location of the study."""
    json_output: Json = False
    """Print JSON instead of the table."""


class StudyReportOptions(LocationOptions):
    """Compute the statistics, tables, figures and the report of the study at OUT, without Ray.

    Needs the runs alone. What is not given is as in the study file.
    """

    out: str
    """Output location of the study."""
    baseline: str | None = None
    """Method with which all others are compared in the first place; by default the best one."""
    alpha: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Significance level of the tests; the intervals cover 1 - alpha."""
    correction: Correction | None = None
    """Correction of p-values: `holm` within a metric and collection, `bh` over the whole study, or
    `none`."""
    block: Block | None = None
    """What is independent: each `pair`, or each `group` (subset), such as the sequences of
    videos."""
    max_failure_rate: float | None = Field(default=None, ge=0.0, le=1.0)
    """Largest share of failed pairs with which a method is compared in a collection."""
    metrics: Names | None = None
    """Metrics and presets to compare by, separated by commas; all of the study by default."""
    pictures: int | None = Field(default=None, ge=0, le=24)
    """Pairs per collection that are shown as pictures."""
    embed: bool = True
    """Put the pictures into report.html; otherwise into files beside it."""
    untrained: Flag = False
    """Accept methods with untrained weights, which are marked in every table."""
