"""Selection of some of a collection's pairs, in one or two passes over its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cluster.collections.conditions import Condition
from fusion_core.errors import InvalidValueError, ManifestError
from fusion_core.suggestions import similar_names, unknown_name

Batches = Iterator[pa.RecordBatch]

_FEWEST_KEPT = 1 << 16
_MOST_NAMES = 20
_LARGEST = np.uint64(2**64 - 1)


class Selection(BaseModel):
    """The pairs of a source that a job takes: all of them by default.

    Subsets and condition are applied first, then the sample, then the limit.
    """

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    subsets: tuple[str, ...] = ()
    """Names of subsets, or of folders of subsets (`set00` for `set00/V000`); all if empty."""
    where: str | None = None
    """Expression of SQL over the columns of the manifest."""
    sample: int | None = None
    """Number of pairs to draw: those with the smallest BLAKE2b-64 of seed and `pair_id`. Which
    pairs these are does not depend on their order, and a larger sample contains a smaller one."""
    seed: int | None = None
    """Seed of the sample."""
    limit: int | None = None
    """Number of pairs to take from the beginning of the manifest."""


def select(read: Callable[[], Batches], selection: Selection) -> Callable[[], Batches]:
    """Return a function that reads the selected pairs, in the order of the manifest.

    Memory does not grow with the number of pairs, except by eight bytes for each pair of a sample.

    Args:
        read: Function that reads all pairs from the beginning.
        selection: The pairs to take.

    Raises:
        InvalidValueError: The condition cannot be parsed. While the pairs are read: it names a
            column that does not exist, or a subset does not exist.
        ManifestError: While the pairs are read: no pair is selected.
    """
    return read if selection == Selection() else _Selector(read, selection).read


class _Selector:
    def __init__(self, read: Callable[[], Batches], selection: Selection) -> None:
        self._read_all = read
        self._selection = selection
        self._condition = None if selection.where is None else Condition(selection.where)

    def read(self) -> Batches:
        """Yield the batches of the selected pairs."""
        limit, rows = self._selection.limit, 0
        subsets = _Subsets(self._selection.subsets)
        for batch in self._read_all():
            part = self._take_sample(self._filter(batch, subsets))
            part = part if limit is None else part.slice(0, limit - rows)
            rows += part.num_rows
            if part.num_rows:
                yield part
            if rows == limit and not subsets.missing():
                return
        subsets.check()
        if not rows:
            raise ManifestError(
                f"None of the {subsets.rows} pairs fits --subset and --where; `irfuse pairs "
                "SOURCE` shows pairs and subsets"
            )

    def _filter(self, batch: pa.RecordBatch, subsets: _Subsets) -> pa.RecordBatch:
        part = subsets.select(batch)
        return part if self._condition is None else self._condition.select(part)

    def _take_sample(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._selection.sample is None:
            return batch
        return batch.filter(pa.array(self._hash(batch) <= self._largest_hash))

    @cached_property
    def _largest_hash(self) -> np.uint64:
        """The largest hash of the sample, from a pass over all pairs."""
        size = self._selection.sample or 0
        subsets = _Subsets(self._selection.subsets)
        kept: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        for batch in self._read_all():
            kept = np.concatenate([kept, self._hash(self._filter(batch, subsets))])
            if len(kept) > 2 * max(size, _FEWEST_KEPT):
                kept = np.partition(kept, size - 1)[:size]
        return np.partition(kept, size - 1)[size - 1] if len(kept) >= size else _LARGEST

    def _hash(self, batch: pa.RecordBatch) -> NDArray[np.uint64]:
        seed = f"{self._selection.seed or 0}\0".encode()
        pair_ids = batch.column("pair_id").to_pylist()
        digests = (
            hashlib.blake2b(seed + pair_id.encode(), digest_size=8).digest() for pair_id in pair_ids
        )
        return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


class _Subsets:
    """The subsets to take, and those that there are."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._found: dict[str, bool] = {}
        """The subsets that there are, and whether they are taken."""
        self.rows = 0

    def select(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of the subsets to take."""
        self.rows += batch.num_rows
        if not self._names:
            return batch
        encoded = batch.column("subset").dictionary_encode()
        taken = []
        for subset in encoded.dictionary.to_pylist():
            if subset not in self._found:
                self._found[subset] = any(_is_in(subset, name) for name in self._names)
            taken.append(self._found[subset])
        return batch.filter(pa.array(np.array(taken, dtype=bool)[encoded.indices.to_numpy()]))

    def missing(self) -> list[str]:
        """Return the subsets to take that were not found so far."""
        taken = [subset for subset, is_taken in self._found.items() if is_taken]
        return [name for name in self._names if not any(_is_in(s, name) for s in taken)]

    def check(self) -> None:
        """Raise an error for a subset that does not exist.

        Raises:
            InvalidValueError: The message names those that do.
        """
        for name in self.missing():
            found = sorted(subset for subset in self._found if subset)
            if not found:
                raise InvalidValueError(f"Unknown subset {name!r}; no pair belongs to a subset")
            similar = similar_names(name, found)
            message = unknown_name("subset", name, similar or found[:_MOST_NAMES])
            more = 0 if similar else len(found[_MOST_NAMES:])
            raise InvalidValueError(f"{message}, and {more} more" if more else message)


def _is_in(subset: str, name: str) -> bool:
    return subset == name or subset.startswith(f"{name}/")
