"""Statistics of runs, computed from their shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cluster.collections import MANIFEST_KEY, FrozenManifest
from cluster.runs import (
    Damage,
    DamagedRunError,
    Ledger,
    Listing,
    RunRecord,
    in_stage_order,
)
from cluster.storage import Store, read_record
from fusion_core.statistics import bootstrap_intervals, describe
from jobs.options import SummarizeOptions
from jobs.progress import Progress
from jobs.score_table import ScoreTable
from jobs.summary import ALL_SUBSETS, SubsetSummary, Summary
from jobs.summary_files import write_summary

_MOST_PASSES = 3
"""Number of times that a summary is computed while other processes commit shards."""


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
    return [
        update_summary(out, read_record(out, RunRecord)) for out in map(options.store, options.outs)
    ]


def update_summary(out: Store, record: RunRecord) -> Summary:
    """Compute a run's statistics from its shards and write them.

    The summary names the shards that it was computed from, as they were listed before they were
    read. They are listed again after it was written: a process that was suspended between both may
    have replaced the summary of newer shards by its own.

    Raises:
        DamagedRunError: Shards are damaged.
        StorageError: The location cannot be read or written.
    """
    ledger = Ledger(out, record)
    for _ in range(_MOST_PASSES):
        listing = ledger.listing()
        summary = summarize_run(out, record, listing)
        write_summary(out, summary)
        if ledger.listing() == listing:
            break
    return summary


def summarize_run(out: Store, record: RunRecord, listing: Listing | None = None) -> Summary:
    """Compute a run's statistics from its shards, without writing anything.

    Raises:
        DamagedRunError: Shards are damaged.
        StorageError: The location cannot be read.
    """
    ledger, damages = Ledger(out, record), list[Damage]()
    listing = listing or ledger.listing()
    with ScoreTable(record.metrics) as scores:
        counts = _Counts()
        for content in ledger.contents(
            ["subset", "status", "error_stage", *record.metrics],
            listing=listing,
            on_damage=damages.append,
        ):
            assert content.table is not None
            good = counts.add(content.table)
            table = content.table.filter(good)
            scores.append(
                len(table), {m: table[m].to_numpy().astype(np.float64) for m in record.metrics}
            )
        if damages:
            raise DamagedRunError(out.url, damages)
        method, totals = record.origin.method, _count_pairs(out, record, counts)
        whole = _Part(ALL_SUBSETS, record.rows, sum(counts.failed.values()), 0, len(scores))
        parts = [_summarize_part(method, whole, scores)]
        if list(totals) not in ([], [""]):
            scores.reorder(np.argsort(counts.members(), kind="stable"))
            parts += [_summarize_part(method, part, scores) for part in counts.parts(totals)]
    return Summary(
        collection=record.collection,
        run=record.name,
        method=record.origin.method,
        fingerprint=record.fingerprint,
        shards_digest=listing.digest,
        trained=record.origin.trained,
        total_rows=record.rows,
        rows=parts[0].count,
        failed=parts[0].failed,
        failed_stages=in_stage_order(counts.stages),
        subsets=parts,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a subset."""

    subset: str
    total: int
    """Number of pairs in the manifest."""
    failed: int
    start: int
    """First `ok` row, in the order of the subsets."""
    stop: int
    """The row after the last `ok` row."""


class _Counts:
    """Counts of a run's rows, which are added shard by shard."""

    def __init__(self) -> None:
        self.ok: Counter[str] = Counter()
        """`ok` rows of each subset."""
        self.failed: Counter[str] = Counter()
        """Failed rows of each subset."""
        self.stages: Counter[str] = Counter()
        """Failed rows of each stage."""
        self._numbers: dict[str, int] = {}
        self._members: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]

    def add(self, table: pa.Table) -> pa.ChunkedArray:
        """Count the rows of a shard, and return a mask of the `ok` rows."""
        good = pc.equal(table["status"], "ok")
        encoded = table["subset"].combine_chunks().dictionary_encode()
        names, places = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        kept = good.to_numpy()
        for rows, mask in ((self.ok, kept), (self.failed, ~kept)):
            counts = np.bincount(places[mask], minlength=len(names))
            rows.update(dict(zip(names, map(int, counts), strict=True)))
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        self._members.append(np.array(numbers, dtype=np.int32)[places[kept]])
        self.stages.update(stage for stage in table["error_stage"].to_pylist() if stage)
        return good

    def members(self) -> NDArray[np.int32]:
        """Return the number of the subset of each `ok` row."""
        return np.concatenate(self._members)

    def parts(self, totals: Mapping[str, int]) -> list[_Part]:
        """Return the subsets by name, with their `ok` rows in the order of `members`."""
        ends = accumulate(self.ok[name] for name in self._numbers)
        stops = {**dict.fromkeys(totals, 0), **dict(zip(self._numbers, ends, strict=True))}
        return [
            _Part(name, total, self.failed[name], stops[name] - self.ok[name], stops[name])
            for name, total in sorted(totals.items())
        ]


def _count_pairs(out: Store, record: RunRecord, counts: _Counts) -> dict[str, int]:
    """Return the number of pairs of each subset: those of a finished run have a row."""
    rows = counts.ok + counts.failed
    if rows.total() == record.rows or not out.exists(MANIFEST_KEY):
        return rows
    return FrozenManifest(out).subset_sizes()


def _summarize_part(method: str, part: _Part, scores: ScoreTable) -> SubsetSummary:
    columns = scores.columns(part.start, part.stop)
    intervals = bootstrap_intervals(list(columns.values()))
    return SubsetSummary(
        method=method,
        subset=part.subset,
        total=part.total,
        count=part.stop - part.start + part.failed,
        failed=part.failed,
        metrics={
            name: describe(column[:], interval)
            for (name, column), interval in zip(columns.items(), intervals, strict=True)
        },
    )
