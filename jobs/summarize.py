"""Statistics of runs, computed from their shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from cluster.collections import MANIFEST_KEY, FrozenManifest
from cluster.runs import (
    Damage,
    DamagedRunError,
    Ledger,
    Listing,
    RunRecord,
    ScorePartWriter,
    ShardContent,
    in_stage_order,
)
from cluster.storage import Store, read_record
from fusion_core.statistics import bootstrap_intervals, describe
from jobs.options import SummarizeOptions
from jobs.progress import Progress
from jobs.row_counts import IDENTITY_COLUMNS, Part, RowCounts
from jobs.score_table import ScoreTable
from jobs.summary import MetricSummary, SubsetSummary, Summary
from jobs.summary_files import write_summary

_ROWS_AT_ONCE = 4096
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


def update_summary(out: Store, record: RunRecord, scores: ScorePartWriter | None = None) -> Summary:
    """Compute a run's statistics from its shards and write them.

    The summary names the shards that it was computed from, as they were listed before they were
    read. They are listed again after it was written: a process that was suspended between both may
    have replaced the summary of newer shards by its own.

    Args:
        out: Output location of the run.
        record: Record of the run.
        scores: Keeps the rows of shards that the compacted scores lack.

    Raises:
        DamagedRunError: Shards are damaged.
        StorageError: The location cannot be read or written.
    """
    ledger = Ledger(out, record)
    for _ in range(_MOST_PASSES):
        listing = ledger.listing()
        summary = summarize_run(out, record, listing, scores)
        write_summary(out, summary)
        if ledger.listing() == listing:
            break
    return summary


def summarize_run(
    out: Store,
    record: RunRecord,
    listing: Listing | None = None,
    scores: ScorePartWriter | None = None,
) -> Summary:
    """Compute a run's statistics from its shards, without writing a summary.

    Args:
        out: Output location of the run.
        record: Record of the run.
        listing: The shards; by default those of a new listing.
        scores: Keeps the rows of shards that the compacted scores lack.

    Raises:
        DamagedRunError: Shards are damaged.
        StorageError: The location cannot be read.
    """
    record.adopt_metrics()
    ledger, damages = Ledger(out, record), list[Damage]()
    listing = listing or ledger.listing()
    with ScoreTable(record.metrics) as table:
        counts = RowCounts(record.metrics)
        columns = ["subset", "status", "error_stage", *IDENTITY_COLUMNS, *record.metrics]
        contents = ledger.contents(
            columns,
            listing=listing,
            on_damage=damages.append,
            on_read=scores.keep_content if scores else None,
        )
        for rows in _joined(contents, columns):
            good = counts.add(rows)
            table.append(len(good), {m: good[m].to_numpy() for m in record.metrics})
        if damages:
            raise DamagedRunError(out.url, damages)
        totals = _count_pairs(out, record, counts)
        parts = [_summarize_part(counts.whole(record.rows), table)]
        if list(totals) not in ([], [""]):
            table.reorder(np.argsort(counts.members(), kind="stable"))
            parts += [_summarize_part(part, table) for part in counts.parts(totals)]
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


def _joined(contents: Iterable[ShardContent], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of shards, many at once, which takes less time than one shard at a time."""
    waiting: list[pa.Table] = []
    for content in contents:
        assert content.table is not None
        waiting.append(content.table.select(columns))
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _count_pairs(out: Store, record: RunRecord, counts: RowCounts) -> dict[str, int]:
    """Return the number of pairs of each subset: those of a finished run have a row."""
    rows = counts.ok + counts.failed
    if rows.total() == record.rows or not out.exists(MANIFEST_KEY):
        return rows
    return FrozenManifest(out).subset_sizes()


def _summarize_part(part: Part, scores: ScoreTable) -> SubsetSummary:
    columns = scores.columns(part.start, part.stop)
    intervals = bootstrap_intervals(list(columns.values()))
    return SubsetSummary(
        subset=part.subset,
        total=part.total,
        count=part.stop - part.start + part.failed,
        failed=part.failed,
        metrics={
            name: MetricSummary(
                pairs_digest=part.pairs[name], **dict(describe(column[:], interval))
            )
            for (name, column), interval in zip(columns.items(), intervals, strict=True)
        },
    )
