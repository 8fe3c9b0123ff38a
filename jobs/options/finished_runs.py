"""Options of the jobs that read runs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import Field, model_validator

from cluster.runs import Stage
from jobs.options.common import Flag, Json, LocationOptions, Names

RunState = Literal["running", "done", "failed", "stalled"]


class StatusOptions(LocationOptions):
    """Report the progress of the run at OUT and the reasons of failed pairs.

    Everything comes from the shards, except for the state of the run, workers and their deaths, for
    which the records of attempts are read, too.
    """

    out: str
    """Output location of the run."""
    failures: int = Field(default=5, ge=0)
    """Number of failed pairs to show with their reasons, the latest first; `irfuse failures` lists
    all."""
    watch: Flag = False
    """Redraw the status while the run is running, and end with status 1 unless it is done then.
    Only new shards are read."""
    every: float = Field(default=5.0, ge=0.5)
    """Seconds between two readings with --watch."""
    json_output: Json = False
    """Print JSON instead of the table; with --watch, a line each time."""


class FailuresOptions(LocationOptions):
    """List all failed pairs of the run at OUT, with their reasons and locations."""

    out: str
    """Output location of the run."""
    stage: Stage | None = None
    """List only pairs that failed at this stage."""
    json_output: Json = False
    """Print JSON instead of the table."""
    csv_file: Annotated[str | None, Parameter(name="--csv")] = None
    """Write all columns to this CSV file, too."""
    parquet_file: Annotated[str | None, Parameter(name="--parquet")] = None
    """Write all columns to this Parquet file, too."""


class RunsOptions(LocationOptions):
    """List the runs below PREFIX: how far they are, and since when.

    The state of a run is `failed` if its last attempt ended with an error; `done` if every pair has
    its row, and the summary is written; `running` if something was written within the last ten
    minutes; otherwise `stalled`. `irfuse runs diff` shows in what two runs differ.
    """

    prefix: str
    """Folder or s3://bucket/prefix that contains runs."""
    method: Annotated[Names, Parameter(show_default=False)] = ()
    """List only the runs of these methods, separated by commas."""
    state: RunState | None = None
    """List only the runs in this state."""
    depth: int = Field(default=4, ge=0)
    """Largest number of folders between PREFIX and the run.json of a run."""
    json_output: Json = False
    """Print JSON instead of the table."""
    csv_file: Annotated[str | None, Parameter(name="--csv")] = None
    """Write all columns to this CSV file, too."""
    parquet_file: Annotated[str | None, Parameter(name="--parquet")] = None
    """Write all columns to this Parquet file, too."""


class RunsDiffOptions(LocationOptions):
    """Show the settings that differ between the runs at FIRST and SECOND, one per line.

    Settings are everything that decides the rows; workers and places are not among them.
    """

    first: str
    """Output location of a run."""
    second: str
    """Output location of another run."""
    json_output: Json = False
    """Print JSON instead of lines."""


class VerifyOptions(LocationOptions):
    """Read every shard of the run at OUT whole, and compare it with what was committed.

    Ends with status 1 if shards are damaged.
    """

    out: str
    """Output location of the run."""
    json_output: Json = False
    """Print JSON instead of the table."""


class ShowOptions(LocationOptions):
    """Draw pairs of the run at OUT as a picture: infrared, visible and fused image, with scores.

    Shows the given pairs, those with the best or the worst scores, or failed pairs with their
    reasons; by default pairs from all parts of the collection.
    """

    out: str
    """Output location of the run."""
    pairs: tuple[str, ...] = ()
    """Pairs to show: pair ids, or their last parts."""
    best: str | None = None
    """Metric: show the pairs with the best scores."""
    worst: str | None = None
    """Metric: show the pairs with the worst scores."""
    failed: Flag = False
    """Show failed pairs with their reasons."""
    count: int = Field(default=6, ge=1, le=100)
    """Number of pairs of each kind."""
    output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None
    """Picture to write, ending in .png; OUT/sheet.png by default. An existing one is replaced."""


class SummarizeOptions(LocationOptions):
    """Compute the statistics of the runs at OUTS from their shards again, and compare the runs.

    Writes summary.json and summary.csv next to the shards. Prints the means of all metrics, a line
    per run, and marks the best and the second best among runs of the same pairs.
    """

    outs: tuple[str, ...] = Field(min_length=1)
    """Output locations of one or more runs."""
    full: Flag = False
    """Print a table of all statistics for each run and subset: mean and its 95 % interval, standard
    deviation, quartiles, minimum and maximum."""
    json_output: Json = False
    """Print all statistics as JSON, one record per run, subset and metric."""
    csv_output: Annotated[Flag, Parameter(name="--csv")] = False
    """Print all statistics as CSV, one line per run, subset and metric."""
    markdown: Flag = False
    """Print the comparison as Markdown."""
    latex: Flag = False
    """Print the comparison as LaTeX, for booktabs."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        forms = ("full", "json_output", "csv_output", "markdown", "latex")
        chosen = [f"--{form.removesuffix('_output')}" for form in forms if getattr(self, form)]
        if len(chosen) > 1:
            raise ValueError(f"Expected one of {' and '.join(chosen)}, but got both")
        return self
