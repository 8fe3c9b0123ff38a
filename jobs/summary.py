"""The statistics of a run, as in `summary.json`, and as lines of CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from fusion_core.statistics import Statistics

ALL_SUBSETS = "(all)"


class MetricSummary(Statistics):
    """The statistics of one metric over the pairs of a subset for which it is defined."""

    pairs_digest: str
    """Digest of the names and sizes of these pairs; it is equal for equal pairs in any order."""

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval of the mean."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return (self.ci_high - self.ci_low) / 2


class SubsetSummary(BaseModel):
    """The statistics of one subset of a run; `(all)` contains all pairs."""

    model_config = ConfigDict(frozen=True)

    subset: str
    total: int
    """Number of pairs in the manifest."""
    count: int
    """Number of committed rows."""
    failed: int
    metrics: dict[str, MetricSummary]


class Summary(BaseModel):
    """The statistics of a run, as in `summary.json`."""

    model_config = ConfigDict(frozen=True)

    collection: str
    run: str
    method: str
    fingerprint: str
    shards_digest: str
    """Digest of the listing of the shards that the statistics were computed from."""
    trained: bool | None
    """False for random weights; None if the run used no weights."""
    total_rows: int
    rows: int
    """Number of committed rows."""
    failed: int
    failed_stages: dict[str, int]
    subsets: list[SubsetSummary]

    @property
    def complete(self) -> bool:
        """Whether every pair has its row."""
        return self.rows == self.total_rows


def summary_records(summaries: Iterable[Summary]) -> list[dict[str, Any]]:
    """Return one record per run, subset and metric, with the same fields for any runs.

    Of the `total_pairs` in the manifest `pairs` have a row, and of these `failed` have no scores.
    """
    return [
        {
            **summary.model_dump(include={"collection", "run", "method", "trained"}),
            "subset": part.subset,
            "total_pairs": part.total,
            "pairs": part.count,
            "failed": part.failed,
            "metric": metric,
            **statistics.model_dump(),
            "fingerprint": summary.fingerprint,
        }
        for summary in summaries
        for part in summary.subsets
        for metric, statistics in part.metrics.items()
    ]


def summary_csv(summaries: Iterable[Summary]) -> str:
    """Return the records of `summary_records` as CSV."""
    records = summary_records(summaries)
    lines = [_csv_line(records[0])] if records else []
    return "".join([*lines, *(_csv_line(map(_csv_cell, record.values())) for record in records)])


def _csv_cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _csv_line(cells: Iterable[object]) -> str:
    """Return a line of CSV; with CR LF as line end the writer quotes cells with CR or LF."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
