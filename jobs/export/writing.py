"""Writing of the shards of an export, by threads of this process or by workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from cluster.session import ray_session
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, StorageError
from jobs.export.preparing import Target, begin
from jobs.export.record import ExportedShard, done_shards
from jobs.options import ExportOptions
from jobs.progress import Progress

if TYPE_CHECKING:
    from cluster.session import ClusterOptions

_LOCAL_THREADS, _REMOTE_THREADS = 8, 16
_TASKS_PER_WORKER = 4
"""Tasks that each worker gets at least, if there are so many shards."""


class Exporter(Protocol):
    """What writes the files of shards; several threads may use one, and it can be pickled."""

    def export(self, shard: int) -> ExportedShard:
        """Write the files of a shard, or of a group of shards, and then their marker."""

    def at(self, target: Target) -> Self:
        """Return what writes the same files to another folder."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What an export has to write."""

    target: Target
    exporter: Exporter
    todo: Sequence[int]
    """The shards that are not written yet, or the groups of shards."""
    shards: Sequence[int]
    """All shards of these groups."""
    rows: int
    """Number of their rows."""
    fit: Mapping[int, int]
    """Number of pairs to export of every shard of the run, also of those that are written."""
    large_files: bool = False
    """Whether files are made in memory, of which fewer are written at a time."""

    def carry_out(self, options: ExportOptions, progress: Progress) -> int:
        """Write what is not written yet, and return the number of its pairs.

        Raises:
            InvalidValueError: The options ask for a dry run.
            RunConflictError: Another process has begun another export there.
            RunFailedError: Workers cannot be placed, or keep dying.
            StorageError: A shard cannot be read, or a file cannot be written.
        """
        if options.dry_run:
            raise InvalidValueError(
                "dry_run is for the command line; call irfuse.dry_run_export(options)"
            )
        begin(self.target)
        return write_shards(self, options, progress)


class Count(NamedTuple):
    """What was written."""

    rows: int
    """Number of rows, with those that have no file."""
    pairs: int
    size: int
    """Bytes of all files."""


class _Tally:
    """Adds up what was written, and shows it."""

    def __init__(self, rows: int, progress: Progress) -> None:
        self._rows, self._progress = rows, progress
        self._done = self._size = self.pairs = 0

    def add(self, counts: Iterable[Count]) -> None:
        for count in counts:
            self._done += count.rows
            self.pairs += count.pairs
            self._size += count.size
        self._progress.steps(self._done, self._rows, f"{self._size / 1e6:.1f} MB")


def write_shards(plan: ExportPlan, options: ExportOptions, progress: Progress) -> int:
    """Write the files of shards, and return the number of pairs.

    Args:
        plan: The shards, and what writes them.
        options: Options of the export: the threads, and the cluster if one is to be used.
        progress: Receives the progress.

    Raises:
        RunFailedError: Workers cannot be placed, or keep dying.
        StorageError: A shard cannot be read, or a file cannot be written.
    """
    tally = _Tally(plan.rows, progress)
    stores = plan.target.run, plan.target.out
    threads = _threads_of(options, *stores, large_files=plan.large_files)
    cluster = options.cluster()
    if cluster is None:
        _write_here(plan.exporter, plan.todo, threads, tally)
    elif plan.todo:
        _write_on_cluster(plan.exporter, plan.todo, threads, cluster, tally, progress)
        _require_done(plan.target.out, plan.todo)
    return tally.pairs


def _threads_of(options: ExportOptions, *stores: Store, large_files: bool) -> int:
    """Return the number of shards, or of large files, that are read and written at a time."""
    local = all(store.is_local for store in stores)
    threads = _LOCAL_THREADS if local else _REMOTE_THREADS
    return options.threads or (threads // 4 if large_files else threads)


def _write_here(exporter: Exporter, shards: Sequence[int], threads: int, tally: _Tally) -> None:
    with ThreadPoolExecutor(threads) as pool:
        try:
            for done in as_completed([pool.submit(_write, exporter, shard) for shard in shards]):
                tally.add([done.result()])
        finally:
            pool.shutdown(cancel_futures=True)


def _write_on_cluster(
    exporter: Exporter,
    shards: Sequence[int],
    threads: int,
    cluster: ClusterOptions,
    tally: _Tally,
    progress: Progress,
) -> None:
    with ray_session(cluster, progress.message):
        # Imported here because an export without a cluster does not need Ray.
        from cluster.session import run_tasks, task_places

        workers = cluster.workers or task_places()
        size = max(1, min(threads, len(shards) // (workers * _TASKS_PER_WORKER)))
        run_tasks(
            ("jobs.export.writing", "write_some"),
            exporter,
            [tuple(shards[first : first + size]) for first in range(0, len(shards), size)],
            cluster,
            on_results=tally.add,
            on_waiting=progress.message,
        )


def write_some(exporter: Exporter, shards: Sequence[int]) -> Count:
    """Write the files of a few shards, with a thread for each.

    Raises:
        StorageError: A shard cannot be read, or a file cannot be written.
    """
    with ThreadPoolExecutor(len(shards)) as pool:
        counts = list(pool.map(partial(_write, exporter), shards))
    return Count(*map(sum, zip(*counts, strict=True)))


def _write(exporter: Exporter, number: int) -> Count:
    shard = exporter.export(number)
    return Count(shard.pairs + len(shard.skipped), shard.pairs, shard.size)


def _require_done(out: Store, shards: Sequence[int]) -> None:
    """Check that the files that workers have written are here.

    Raises:
        StorageError: They are not, because the folder of each node is another one.
    """
    missing = set(shards) - done_shards(out)
    if missing:
        raise StorageError(
            f"{len(missing)} of {len(shards)} parts of the export were written, but are not in "
            f"{out.url}: the folder is not the same one on all nodes of the cluster; use a shared "
            "file system or an object store for OUT, or leave out --address and --workers"
        )
