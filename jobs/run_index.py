"""The index of runs: what is below a location, how far it is, and in what two runs differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cluster.runs import Attempt, Listing, RunListing, RunRecord, find_runs
from cluster.storage import Store, read_record
from fusion_core.errors import NotFoundError, StorageError
from fusion_core.wording import count_of
from jobs.options import RunsDiffOptions, RunsOptions, RunState
from jobs.progress import Progress, SilentProgress
from jobs.run_state import find_attempts, state_of
from jobs.summary import Summary
from jobs.summary_files import SUMMARY_KEY, current_summary
from jobs.table_files import write_tables

_READERS = 32

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("out", "run", "collection", "method")),
        *((name, pa.int64()) for name in ("rows", "rows_done", "failed")),
        ("state", pa.string()),
        ("created", pa.timestamp("s", "UTC")),
        ("last_commit", pa.timestamp("s", "UTC")),
        ("pairs_per_second", pa.float64()),
        ("core_hours", pa.float64()),
        ("size", pa.int64()),
        ("version", pa.string()),
    ]
)
"""Columns of a table of runs; tests compare them with the fields of `IndexedRun`."""


class IndexedRun(BaseModel):
    """One run of an index."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Location of the run."""
    run: str
    """Name of the run."""
    collection: str
    method: str
    rows: int
    """Number of pairs."""
    rows_done: int
    """Number of pairs with a committed row."""
    failed: int | None
    """Number of failed rows, from the summary or the records of the attempts; None if neither
    tells it, as while a retry is computed."""
    state: RunState
    created: datetime
    last_commit: datetime | None
    """Time at which the last shard was committed."""
    pairs_per_second: float | None
    """Rows per second of the last attempt; None if it has no record."""
    core_hours: float | None
    """Hours for which workers were ready, summed over all workers and attempts."""
    size: int
    """Bytes of all shards."""
    version: str
    """Version of irfuse."""


class RunIndex(BaseModel):
    """The runs below a location."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    prefix: str
    """The location."""
    found: int
    """Number of runs below the location, also those that were not asked for."""
    runs: list[IndexedRun]
    """The runs that were asked for, by their locations."""
    unreadable: dict[str, str]
    """Locations of runs whose record cannot be read, with the reason."""


class Difference(BaseModel):
    """A setting that differs between two runs."""

    model_config = ConfigDict(frozen=True)

    setting: str
    first: Any
    second: Any


class RunDifferences(BaseModel):
    """The settings that differ between two runs."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    first: str
    """Location of the first run."""
    second: str
    """Location of the second run."""
    differences: list[Difference]


def list_runs(options: RunsOptions, progress: Progress | None = None) -> RunIndex:
    """List the runs below a location.

    The location is listed once; of each run, its record and its summary are read, but no shard.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: There is no run below the location.
        StorageError: The location cannot be listed, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    store = options.store(options.prefix)
    progress.message(f"Looking for runs below {store.url}")
    found = find_runs(store, options.depth)
    if not found:
        raise NotFoundError(
            f"no run below {store.url}; run.json is looked for "
            f"{count_of(options.depth, 'level')} deep (`--depth`)"
        )
    runs: list[IndexedRun] = []
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="irfuse-index") as pool:
        results = pool.map(partial(_describe, store, time.time()), found, found.values())
        for number, (key, result) in enumerate(zip(found, results, strict=True), start=1):
            progress.steps(number, len(found), "")
            if isinstance(result, str):
                unreadable[store.uri(key)] = result
            elif _is_requested(result, options):
                runs.append(result)
    rows = [run.model_dump() for run in runs]
    write_tables(pa.Table.from_pylist(rows, schema=_SCHEMA), options)
    return RunIndex(prefix=store.url, found=len(found), runs=runs, unreadable=unreadable)


def diff_runs(options: RunsDiffOptions, progress: Progress | None = None) -> RunDifferences:
    """Return the settings that differ between two runs, as they are in their run.json.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: A location contains no run.
        StorageError: A record cannot be read.
    """
    stores = [options.store(location) for location in (options.first, options.second)]
    first, second = (read_record(store, RunRecord).settings for store in stores)
    return RunDifferences(
        first=stores[0].url,
        second=stores[1].url,
        differences=[
            Difference(setting=name, first=first.get(name), second=second.get(name))
            for name in {**first, **second}
            if first.get(name) != second.get(name)
        ],
    )


def _describe(store: Store, now: float, key: str, listing: RunListing) -> IndexedRun | str:
    """Return what is known about a run, or why its record or summary cannot be read."""
    out = store.below(key)
    try:
        record = read_record(out, RunRecord)
        shards = Listing.of(listing.shards, record.plan.count)
        summary = current_summary(out, record, shards) if SUMMARY_KEY in listing.keys else None
    except StorageError as error:
        return str(error)
    done = sum(end - first for first, end in map(record.plan.bounds, shards.shards))
    attempts = find_attempts(out, listing.keys)
    last = attempts[-1] if attempts else None
    return IndexedRun(
        out=out.url,
        run=record.name,
        collection=record.collection,
        method=record.origin.method,
        rows=record.rows,
        rows_done=done,
        failed=_count_failed(summary, attempts, done),
        state=state_of(summary is not None, last, listing.changed, now),
        created=datetime.fromisoformat(record.created),
        last_commit=_time(listing.committed),
        pairs_per_second=last.rows / last.seconds if last and last.rows and last.seconds else None,
        core_hours=sum(a.core_seconds for a in attempts) / 3600 if attempts else None,
        size=listing.size,
        version=record.irfuse_version,
    )


def _count_failed(summary: Summary | None, attempts: Sequence[Attempt], done: int) -> int | None:
    if summary is not None:
        return summary.failed
    computed = sum(attempt.rows for attempt in attempts)
    # Rows that were computed more than once, for example by a retry, would be counted twice.
    return sum(attempt.failed for attempt in attempts) if 0 < computed <= done else None


def _is_requested(run: IndexedRun, options: RunsOptions) -> bool:
    of_method = not options.method or run.method in options.method
    return of_method and options.state in (None, run.state)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds), UTC)
