"""Statistics of runs, computed from their shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from cluster.runs import Ledger, RunRecord, in_stage_order
from cluster.storage import Store, read_record
from fusion_core.errors import NotFoundError
from fusion_core.statistics import bootstrap_intervals, describe
from jobs.options import SummarizeOptions
from jobs.progress import Progress
from jobs.score_table import ScoreTable, StoredColumn
from jobs.summary import ALL_SUBSETS, SubsetSummary, Summary, summary_csv

SUMMARY_KEY = "summary.json"
SUMMARY_CSV_KEY = "summary.csv"


def summarize(options: SummarizeOptions, progress: Progress | None = None) -> list[Summary]:
    """Compute the statistics of the runs at OUTS from their shards again.

    Writes summary.json and summary.csv next to the shards.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Returns:
        The summary of each run, in the order of the locations.

    Raises:
        NotFoundError: A location contains no run.
        StorageError: A location cannot be read or written.
    """
    summaries = []
    for out in map(options.store, options.outs):
        summary = summarize_run(out, read_record(out, RunRecord))
        write_summary(out, summary)
        summaries.append(summary)
    return summaries


def summarize_run(out: Store, record: RunRecord) -> Summary:
    """Compute a run's statistics from its shards, without writing anything."""
    with ScoreTable(record.metrics) as scores:
        counts = _Counts()
        for content in Ledger(out, record).contents(
            ["subset", "status", "error_stage", *record.metrics]
        ):
            assert content.table is not None
            good = counts.add(content.table)
            table = content.table.filter(good)
            scores.append(
                len(table), {m: table[m].to_numpy().astype(np.float64) for m in record.metrics}
            )
        parts = [
            _summarize_subset(
                record.origin.method, ALL_SUBSETS, scores.columns(), len(scores), sum(counts.failed)
            )
        ]
        if list(counts.subsets) not in ([], [""]):
            parts += _summarize_subsets(record.origin.method, scores, counts)
    return Summary(
        run=record.name,
        method=record.origin.method,
        fingerprint=record.fingerprint,
        trained=record.origin.trained,
        total_rows=record.rows,
        rows=parts[0].count,
        failed=parts[0].failed,
        failed_stages=in_stage_order(counts.stages),
        subsets=parts,
    )


class _Counts:
    """Counts of a run's rows, which are added shard by shard."""

    def __init__(self) -> None:
        self.subsets: dict[str, int] = {}
        """Number of each subset, in order of appearance."""
        self.failed: list[int] = []
        """Failed rows of each subset."""
        self.stages: Counter[str] = Counter()
        self._members: list[NDArray[np.int32]] = []

    def add(self, table: pa.Table) -> pa.ChunkedArray:
        """Count the rows of a shard, and return a mask of the `ok` rows."""
        good = pc.equal(table["status"], "ok")
        names = table["subset"].combine_chunks().dictionary_encode()
        numbers = np.array([self._number(n) for n in names.dictionary.to_pylist()], dtype=np.int32)
        members = numbers[names.indices.to_numpy()]
        kept = good.to_numpy()
        self._members.append(members[kept])
        for number in members[~kept]:
            self.failed[number] += 1
        self.stages.update(stage for stage in table["error_stage"].to_pylist() if stage)
        return good

    def members(self) -> NDArray[np.int32]:
        """Return the subset number of each `ok` row."""
        return np.concatenate(self._members)

    def _number(self, subset: str) -> int:
        if subset not in self.subsets:
            self.subsets[subset] = len(self.subsets)
            self.failed.append(0)
        return self.subsets[subset]


def find_summary(out: Store, record: RunRecord) -> Summary | None:
    """Return the existing summary of a complete run, or None if it is missing or out of date."""
    try:
        summary = Summary.model_validate_json(out.read(SUMMARY_KEY))
    except (NotFoundError, ValidationError):
        return None
    return summary if summary.complete and summary.fingerprint == record.fingerprint else None


def write_summary(out: Store, summary: Summary) -> None:
    """Write `summary.json` and `summary.csv`."""
    # summary.json last, because it is what a finished run believes.
    out.write(SUMMARY_CSV_KEY, summary_csv([summary]).encode())
    out.write(SUMMARY_KEY, summary.model_dump_json(indent=2).encode())


def _summarize_subsets(method: str, scores: ScoreTable, counts: _Counts) -> list[SubsetSummary]:
    members = counts.members()
    ends = np.cumsum(np.bincount(members, minlength=len(counts.subsets)))
    scores.reorder(np.argsort(members, kind="stable"))
    starts = ends - np.diff(ends, prepend=0)
    return [
        _summarize_subset(
            method,
            name,
            scores.columns(int(starts[number]), int(ends[number])),
            int(ends[number] - starts[number]),
            counts.failed[number],
        )
        for name, number in sorted(counts.subsets.items())
    ]


def _summarize_subset(
    method: str, subset: str, columns: Mapping[str, StoredColumn], good: int, failed: int
) -> SubsetSummary:
    intervals = bootstrap_intervals(list(columns.values()))
    return SubsetSummary(
        method=method,
        subset=subset,
        count=good + failed,
        failed=failed,
        metrics={
            name: describe(column[:], interval)
            for (name, column), interval in zip(columns.items(), intervals, strict=True)
        },
    )
