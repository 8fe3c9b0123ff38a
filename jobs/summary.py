"""The statistics of a run, as in `summary.json`, and as lines of CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from fusion_core.statistics import Statistics

ALL_SUBSETS = "(all)"


class SubsetSummary(BaseModel):
    """The statistics of one subset of a run; `(all)` contains all pairs."""

    model_config = ConfigDict(frozen=True)

    method: str
    subset: str
    total: int
    """Number of pairs in the manifest."""
    count: int
    """Number of committed rows."""
    failed: int
    metrics: dict[str, Statistics]


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


def summary_csv(summaries: Iterable[Summary]) -> str:
    """Return one line per run, subset and metric.

    Of the `total_pairs` in the manifest, `pairs` have a row.
    """
    names = list(Statistics.model_fields)
    heads = ["collection", "run", "method", "trained", "subset", "total_pairs", "pairs", "failed"]
    lines = [_csv_line([*heads, "metric", *names])]
    for summary in summaries:
        trained = "" if summary.trained is None else str(summary.trained).lower()
        for part in summary.subsets:
            head: list[object] = [
                summary.collection,
                summary.run,
                part.method,
                trained,
                part.subset,
            ]
            head += [part.total, part.count, part.failed]
            for metric, statistics in part.metrics.items():
                values = statistics.model_dump()
                lines.append(_csv_line([*head, metric, *(values[name] for name in names)]))
    return "".join(lines)


def _csv_line(cells: Iterable[object]) -> str:
    """Return a line of CSV; with CR LF as line end the writer quotes cells with CR or LF."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
