"""How the rows of an epoch are shared and shuffled, as pure functions of numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


def share(
    rows: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    worker: int = 0,
    workers: int = 1,
    drop_last: bool = False,
) -> Positions:
    """Return the positions in the sequence of an epoch that one worker of one rank takes.

    Every rank takes the same number of consecutive rows, which its workers share, so that all ranks
    have the same number of batches. Without `drop_last`, the last ranks begin again at the start of
    the sequence if the number of rows is no multiple of the number of ranks.

    Args:
        rows: Number of rows.
        rank: Number of this process among those that train.
        world_size: Number of these processes.
        worker: Number of this worker of the `DataLoader`.
        workers: Number of workers of each rank.
        drop_last: Whether the rows that are left over are dropped.

    >>> [share(5, rank=rank, world_size=2).tolist() for rank in range(2)]
    [[0, 1, 2], [3, 4, 0]]
    """
    of_rank = rows // world_size if drop_last else -(-rows // world_size)
    size, longer = divmod(of_rank, workers)
    first = rank * of_rank + worker * size + min(worker, longer)
    return np.arange(first, first + size + (worker < longer), dtype=np.int64) % max(rows, 1)


def buffered_shuffle(count: int, buffer: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield the numbers below `count` in a random order that is nearly that of a sequence.

    A number comes at most `buffer` - 1 numbers too early, so that a reader needs to hold no more
    than so many.
    """
    held = list(range(min(buffer, count)))
    for following in range(len(held), count):
        slot = int(rng.integers(len(held)))
        yield held[slot]
        held[slot] = following
    rng.shuffle(held)
    yield from held


def find_rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the rank of this process and the number of ranks.

    Those that are given are taken; otherwise those of `torch.distributed`, of the environment
    variables RANK and WORLD_SIZE, or a single process.

    Raises:
        ValueError: Only one of both is given, or they do not fit together.
    """
    if (rank is None) != (world_size is None):
        raise ValueError("Expected rank and world_size together, but got one of them")
    if rank is None or world_size is None:
        rank, world_size = _distributed_rank()
    if not 0 <= rank < world_size:
        raise ValueError(f"Expected 0 <= rank < world_size, but got {rank} and {world_size}")
    return rank, world_size


def _distributed_rank() -> tuple[int, int]:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
