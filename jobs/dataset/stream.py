"""The fused images of runs as an iterable dataset, which ranks and workers share evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from cluster.runs.index import ShardIndex
from fusion_core.errors import InvalidValueError, StorageError
from jobs.dataset.partition import buffered_shuffle, find_rank, share
from jobs.dataset.samples import COLUMNS, Runs, RunSamples, Transform, open_runs

_READ_AHEAD = 2
"""Row groups that are read before they are needed."""


class _Row(NamedTuple):
    """A row of the sequence of an epoch."""

    run: RunSamples
    shard: ShardIndex
    group: int
    number: int
    """Number of the row in its group."""
    offset: int
    """Number of the row in its shard."""


class FusedStream(IterableDataset[Any]):
    """The fused images of one or several runs in the order in which they are read fastest.

    The rows of an epoch are one sequence: the shards in a random order. Each rank takes the same
    number of consecutive rows of it, and its `DataLoader` workers share these, so all ranks have
    the same number of samples and batches, nearly every shard is read by one rank alone, and every
    row is seen exactly once (with up to one repeated row for each rank but one, unless `drop_last`
    is given). Row groups are read as wholes and ahead, and shuffled in a buffer. The order depends
    on seed, epoch, ranks and workers alone.

    Samples are those of `FusedPairs`, with the same arguments; in addition:

    Args:
        runs: Location of a run, several locations, or a mapping from names to locations.
        shuffle: Whether shards and rows are shuffled.
        seed: Seed of the order.
        buffer: Number of rows among which rows are shuffled.
        drop_last: Whether rows that cannot be shared evenly are dropped; otherwise others repeat.
        rank: Number of this process among those that train; by default that of `torch.distributed`
            or of the environment variable RANK.
        world_size: Number of these processes; by default likewise, or WORLD_SIZE.
        on_error: What to do with an image that cannot be read: `raise` the error, or `skip` it and
            count it in `skipped`.
        where: Condition that rows must fit.
        columns: The parts of a sample.
        transform: Function that is applied to every sample.
        sources: Whether samples contain the sources.
        labels: Whether samples contain the label files.
        channels: Number of channels of `fused`.
        complete: Whether the runs must be finished.
        storage_options: Options of fsspec for remote runs.
        cache: Folder on local disk to which shards are copied when they are read first.

    Raises:
        InvalidValueError: As `FusedPairs`, or the buffer is empty.
        NotFoundError: As `FusedPairs`.
        StorageError: As `FusedPairs`.

    Example::

        stream = FusedStream("s3://results/llvip", shuffle=True, seed=0, channels=3)
        for epoch in range(3):
            stream.set_epoch(epoch)
            for batch in DataLoader(stream, batch_size=8, num_workers=2):
                ...
    """

    def __init__(
        self,
        runs: Runs,
        *,
        shuffle: bool = False,
        seed: int = 0,
        buffer: int = 256,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        where: str | None = None,
        columns: Sequence[str] = COLUMNS,
        transform: Transform | None = None,
        sources: bool = False,
        labels: bool = False,
        channels: Literal[1, 3] | None = None,
        complete: bool = True,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if buffer < 1:
            raise InvalidValueError(f"Expected a buffer of at least one row, but got {buffer}")
        self._runs = open_runs(
            runs,
            where=where,
            columns=columns,
            sources=sources,
            labels=labels,
            channels=channels,
            complete=complete,
            storage_options=storage_options,
            cache=cache,
        )
        self._transform, self._on_error = transform, on_error
        self._shuffle, self._seed, self._buffer = shuffle, seed, buffer
        self._drop_last = drop_last
        self._given = rank, world_size
        find_rank(rank, world_size)
        self._shards = [(run, shard) for run in self._runs for shard in run.index.shards]
        # In shared memory, so that workers that live on see the epochs of the main process.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._position = 0
        self._resumed: dict[str, int] | None = None
        self.skipped = 0
        """Number of images that this process has skipped because they cannot be read."""

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned does not know torch.distributed.
        return {**self.__dict__, "_given": find_rank(*self._given)}

    def __len__(self) -> int:
        """Return the number of samples of each rank."""
        _, world_size = find_rank(*self._given)
        return len(share(self._count(), world_size=world_size, drop_last=self._drop_last))

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, on which the order depends."""
        self._epoch[0] = epoch

    def state_dict(self) -> dict[str, int]:
        """Return where this process is: the epoch, and the number of samples that it has given.

        `torchdata.stateful_dataloader.StatefulDataLoader` saves and loads the state of each worker.
        """
        return {"epoch": int(self._epoch), "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue after the samples that had been given when the state was taken."""
        self._resumed = dict(state)
        self.set_epoch(state["epoch"])

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        rank, world_size = find_rank(*self._given)
        for run in self._runs:
            run.adopt_process()
        epoch = int(self._epoch)
        rows = self._rows(
            epoch,
            share(
                self._count(),
                rank=rank,
                world_size=world_size,
                worker=worker,
                workers=workers,
                drop_last=self._drop_last,
            ),
        )
        order: Iterator[int] = iter(range(len(rows)))
        if self._shuffle:
            rng = np.random.default_rng([self._seed, epoch, rank, worker])
            order = buffered_shuffle(len(rows), self._buffer, rng)
        resumed, self._resumed = self._resumed, None
        first = resumed["position"] if resumed and resumed["epoch"] == epoch else 0
        self._position = first
        yield from self._samples(rows, list(order)[first:])

    def _samples(self, rows: Sequence[_Row], order: Sequence[int]) -> Iterator[Any]:
        with _Groups([rows[number] for number in order]) as groups:
            for number in order:
                row = rows[number]
                try:
                    sample = row.run.make(row.shard, row.offset, groups.take(row))
                except StorageError:
                    self._position += 1
                    if self._on_error == "raise":
                        raise
                    self.skipped += 1
                    continue
                self._position += 1
                yield sample if self._transform is None else self._transform(sample)

    def _count(self) -> int:
        return sum(len(shard.usable) for _, shard in self._shards)

    def _rows(self, epoch: int, positions: np.ndarray[Any, np.dtype[np.int64]]) -> list[_Row]:
        """Return the rows at positions of the sequence of an epoch."""
        order = np.arange(len(self._shards))
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(order)
        ends = np.cumsum([len(self._shards[number][1].usable) for number in order])
        rows = []
        for position in positions.tolist():
            place = int(np.searchsorted(ends, position, side="right"))
            run, shard = self._shards[order[place]]
            offset = int(shard.usable[position - int(ends[place]) + len(shard.usable)])
            group, number = shard.group_of(offset)
            rows.append(_Row(run, shard, group, number, offset))
        return rows


_Group = tuple[int, int, int]
"""A row group: the identity of its run, its shard, and its number."""


class _Groups:
    """Row groups, which are read ahead and kept while rows of them are needed.

    Args:
        rows: The rows in the order in which they are needed.
    """

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._needed = Counter(map(_group_of, rows))
        self._following = iter({_group_of(row): row for row in rows}.values())
        self._read: dict[_Group, Future[list[bytes]]] = {}
        self._ahead: set[_Group] = set()
        """Row groups that are read, and of which no row was needed yet."""
        self._pool = ThreadPoolExecutor(_READ_AHEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, row: _Row) -> bytes:
        """Return the fused image of a row, as the bytes of its file."""
        group = _group_of(row)
        if group not in self._read:
            self._read_next()
        self._ahead.discard(group)
        while len(self._ahead) < _READ_AHEAD and self._read_next():
            pass
        self._needed[group] -= 1
        found = self._read[group] if self._needed[group] else self._read.pop(group)
        return found.result()[row.number]

    def _read_next(self) -> bool:
        """Begin to read the next row group; return False if there is none."""
        row = next(self._following, None)
        if row is None:
            return False
        group = _group_of(row)
        self._read[group] = self._pool.submit(row.run.reader.group, row.shard, row.group)
        self._ahead.add(group)
        return True


def _group_of(row: _Row) -> _Group:
    return id(row.run), row.shard.shard, row.group
