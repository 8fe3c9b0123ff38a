"""Counts of a run's rows per subset, and the identity of the pairs that have a score."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.summary import ALL_SUBSETS

IDENTITY_COLUMNS = ("pair_id", "width", "height")
"""Columns that identify a pair: names alone are equal in different numbered collections."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a subset."""

    subset: str
    total: int
    """Number of pairs in the manifest."""
    failed: int
    start: int
    """First `ok` row, in the order of the subsets."""
    stop: int
    """The row after the last `ok` row."""
    pairs: Mapping[str, str]
    """Digest of the pairs with a value, per metric."""


class RowCounts:
    """Counts of a run's rows, which are added shard by shard.

    Args:
        metrics: Names of the metrics.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self.ok: Counter[str] = Counter()
        """`ok` rows of each subset."""
        self.failed: Counter[str] = Counter()
        """Failed rows of each subset."""
        self.stages: Counter[str] = Counter()
        """Failed rows of each stage."""
        self._metrics = tuple(metrics)
        self._numbers: dict[str, int] = {}
        self._members: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]
        # One row per subset and one column per metric: the sum of the hashes of the pairs that
        # have a value, which does not depend on their order.
        self._sums: NDArray[np.uint64] = np.zeros((0, len(metrics)), dtype=np.uint64)

    def add(self, table: pa.Table) -> pa.Table:
        """Count the rows of a shard, and return its `ok` rows."""
        mask = pc.equal(table["status"], "ok")
        encoded = table["subset"].combine_chunks().dictionary_encode()
        names, places = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        kept = mask.to_numpy()
        for rows, chosen in ((self.ok, kept), (self.failed, ~kept)):
            counts = np.bincount(places[chosen], minlength=len(names))
            rows.update(dict(zip(names, map(int, counts), strict=True)))
        self.stages.update(stage for stage in table["error_stage"].to_pylist() if stage)
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        members = np.array(numbers, dtype=np.int32)[places[kept]]
        self._members.append(members)
        good = table.filter(mask)
        self._add_pairs(members, good)
        return good

    def _add_pairs(self, members: NDArray[np.int32], good: pa.Table) -> None:
        grown = np.zeros((len(self._numbers), len(self._metrics)), dtype=np.uint64)
        grown[: len(self._sums)] = self._sums
        hashes = _hash_rows(good)
        for column, metric in enumerate(self._metrics):
            defined = ~np.isnan(good[metric].to_numpy())
            np.add.at(grown[:, column], members[defined], hashes[defined])
        self._sums = grown

    def members(self) -> NDArray[np.int32]:
        """Return the number of the subset of each `ok` row."""
        return np.concatenate(self._members)

    def whole(self, total: int) -> Part:
        """Return all rows as one part.

        Args:
            total: Number of pairs in the manifest.
        """
        sums = self._sums.sum(axis=0, dtype=np.uint64)
        return Part(
            ALL_SUBSETS, total, self.failed.total(), 0, self.ok.total(), self._digests(sums)
        )

    def parts(self, totals: Mapping[str, int]) -> list[Part]:
        """Return the subsets by name, with their `ok` rows in the order of `members`.

        Args:
            totals: Number of pairs of each subset in the manifest.
        """
        ends = accumulate(self.ok[name] for name in self._numbers)
        stops = dict(zip(self._numbers, ends, strict=True))
        none = np.zeros(len(self._metrics), dtype=np.uint64)
        return [
            Part(
                name,
                total,
                self.failed[name],
                stops.get(name, 0) - self.ok[name],
                stops.get(name, 0),
                self._digests(self._sums[self._numbers[name]] if name in stops else none),
            )
            for name, total in sorted(totals.items())
        ]

    def _digests(self, sums: NDArray[np.uint64]) -> dict[str, str]:
        return {m: f"{int(value):016x}" for m, value in zip(self._metrics, sums, strict=True)}


def _hash_rows(table: pa.Table) -> NDArray[np.uint64]:
    rows = zip(*(table[name].to_pylist() for name in IDENTITY_COLUMNS), strict=True)
    digests = (hashlib.blake2b(repr(row).encode(), digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
