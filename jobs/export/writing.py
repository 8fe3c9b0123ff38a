"""Writing of the shards of an export, by threads of this process or by workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cluster.session import ray_session
from cluster.storage import Store
from fusion_core.errors import StorageError
from jobs.export.preparing import Target
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


def write_shards(
    exporter: Exporter,
    shards: Sequence[int],
    rows: int,
    target: Target,
    options: ExportOptions,
    progress: Progress,
    *,
    large_files: bool = False,
) -> int:
    """Write the files of shards, and return the number of pairs.

    Args:
        exporter: What writes them.
        shards: Their numbers, or those of groups of shards.
        rows: Number of their rows.
        target: The run and the folder.
        options: Options of the export: the threads, and the cluster if one is to be used.
        progress: Receives the progress.
        large_files: Whether files are made in memory, of which fewer are written at a time.

    Raises:
        RunFailedError: Workers cannot be placed, or keep dying.
        StorageError: A shard cannot be read, or a file cannot be written.
    """
    tally = _Tally(rows, progress)
    threads = _threads_of(options, target.run, target.out, large_files=large_files)
    cluster = options.cluster()
    if cluster is None:
        _write_here(exporter, shards, threads, tally)
    elif shards:
        _write_on_cluster(exporter, shards, threads, cluster, tally, progress)
        _require_done(target.out, shards)
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
