"""Small collections of pairs, and the rows of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.storage.store import Store
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs.options import RunOptions

PAIRS = 60
"""Number of pairs in the collection of runs that are disturbed."""
SMALL = 6
"""Number of pairs in the collection of runs that tests only read."""
SHARD_SIZE = 3
SIZES = ((48, 64), (33, 57), (64, 48))
_VOLATILE = ("attempt", "node", "read_ms", "decode_ms", "fuse_ms", "score_ms", "encode_ms")


@dataclass(frozen=True)
class FinishedRun:
    """A collection and a finished run of it."""

    source: Path
    out: Path


def write_pairs(
    folder: str | Path, count: int, *, scale: int = 1, **storage_options: object
) -> Store:
    """Write `ir/NNNN.png` and `vis/NNNN.png` in several sizes; every third visible is gray.

    A larger `scale` makes larger images, for runs that must last long enough to be disturbed.
    """
    store = Store(str(folder), storage_options)
    for number in range(count):
        height, width = (scale * side for side in SIZES[number % len(SIZES)])
        ir, vis = synthetic_pair(height, width, seed=number, colour=number % 3 != 0)
        store.write(f"ir/{number:04d}.png", encode_png(ir))
        store.write(f"vis/{number:04d}.png", encode_png(vis))
    return store


def read_rows(
    out: str | Path, storage_options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Read all rows of a run, in the order of its shards."""
    store = Store(str(out), storage_options)
    rows: list[dict[str, Any]] = []
    for entry in store.entries("shards"):
        with store.open(entry.key) as file:
            rows += pq.ParquetFile(file).read().to_pylist()
    return rows


def stable(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without the columns that may differ between two computations."""
    return [{k: v for k, v in row.items() if k not in _VOLATILE} for row in rows]


def run_options(source: object, out: object, **changed: Any) -> RunOptions:
    """Return the options of a small run with untrained weights."""
    settings = {"weights": "random:0", "shard_size": SHARD_SIZE, "workers": 1, **changed}
    return RunOptions(source=str(source), out=str(out), **settings)


def run_command(
    source: object, out: object, address: str, *more: object, workers: int = 1
) -> list[str]:
    """Return the command line of the same run."""
    options = ["--weights", "random:0", "--shard-size", SHARD_SIZE, "--workers", workers]
    command = ["run", source, "--out", out, "--address", address, *options, *more]
    return [str(part) for part in command]
