"""Subsets that repeat the pairs of other subsets, as the detection part of MSRS does."""

from __future__ import annotations

import posixpath
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.collections.hashes import changes
from cluster.collections.layouts import Pair

_COMPRESSED = (".png", ".jpg", ".jpeg", ".webp", ".jp2")
"""Formats in which two images hardly ever have the same number of bytes by chance."""
_LEAST_SHARE = 0.5
_MSRS = ("detection", "train", "test")
"""The subsets of MSRS, of which the first one repeats the others."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """A subset most of whose pairs are in other subsets, too."""

    subset: str
    count: int
    """Number of its pairs that are in other subsets."""
    others: tuple[str, ...]
    """The subsets that contain them."""


class Repetitions:
    """The search for subsets at least half of whose pairs are in other subsets.

    Two pairs count as equal if their files have the same names and the same sizes in bytes. In the
    detection part of MSRS, whose names are unique, equal names suffice. A pair is represented by a
    random hash: 12 bytes.
    """

    def __init__(self) -> None:
        self._identities, self._subsets = array("q"), array("i")
        self._numbers: dict[str, int] = {}
        self._names: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        """The names of the pairs of subsets that may be those of MSRS."""

    def add(self, pairs: Iterable[Pair], sizes: Mapping[str, int]) -> None:
        """Add pairs of a collection.

        Args:
            pairs: The pairs.
            sizes: Size in bytes by key.
        """
        for _, ir_key, vis_key, subset in pairs:
            if not ir_key.lower().endswith(_COMPRESSED):
                continue
            name = ir_key.rpartition("/")[2].casefold()
            self._identities.append(hash((name, sizes[ir_key], sizes[vis_key])))
            self._subsets.append(self._numbers.setdefault(subset, len(self._numbers)))
            if subset.endswith(_MSRS):
                self._names[subset].append(hash(name))

    def find(self) -> list[Repetition]:
        """Return the subsets, after all pairs were added."""
        if len(self._numbers) < 2:
            return []
        identities = np.frombuffer(self._identities, np.int64)
        subsets = np.frombuffer(self._subsets, np.int32)
        order = np.lexsort((subsets, identities))
        identities, subsets = identities[order], subsets[order]
        distinct = changes(identities) | changes(subsets)
        identities, subsets = identities[distinct], subsets[distinct]
        sizes = np.bincount(subsets, minlength=len(self._numbers))
        shared, holders = _shared(identities, subsets)
        repeated = np.bincount(subsets[shared], minlength=len(self._numbers))
        names = list(self._numbers)
        repetitions = []
        for subset, number in sorted(self._numbers.items()):
            count = int(repeated[number])
            others = {names[other] for other in holders.get(number, ())}
            if not count:
                count, others = self._repeated_in_msrs(subset)
            if count >= _LEAST_SHARE * sizes[number]:
                repetitions.append(Repetition(subset, count, tuple(sorted(others - {subset}))))
        return repetitions

    def _repeated_in_msrs(self, subset: str) -> tuple[int, set[str]]:
        """Return how many names recur, and where, if this is the detection part of MSRS."""
        folder, _, last = subset.rpartition("/")
        others = [posixpath.join(folder, split) for split in _MSRS[1:]]
        if last != _MSRS[0] or not all(other in self._numbers for other in others):
            return 0, set()
        own, train, test = (np.unique(self._names[one]) for one in (subset, *others))
        if len(np.intersect1d(train, test)):
            return 0, set()
        counts = [len(np.intersect1d(own, names)) for names in (train, test)]
        return sum(counts), {one for one, count in zip(others, counts, strict=True) if count}


def find_repetitions(pairs: Iterable[Pair], sizes: Mapping[str, int]) -> list[Repetition]:
    """Find the subsets at least half of whose pairs are in other subsets; see `Repetitions`.

    Args:
        pairs: The pairs of a collection.
        sizes: Size in bytes by key.
    """
    repetitions = Repetitions()
    repetitions.add(pairs, sizes)
    return repetitions.find()


def _shared(
    identities: NDArray[np.int64], subsets: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], dict[int, set[int]]]:
    """Return which identities are in several subsets, and the subsets that share some with each.

    Args:
        identities: Identities in order.
        subsets: The subset of each, without repetitions.
    """
    new = changes(identities)
    shared = ~(new & np.append(new[1:], True))
    holders: defaultdict[int, set[int]] = defaultdict(set)
    starts = np.flatnonzero(new[shared])
    for group in np.split(subsets[shared], starts[1:]):
        members = set(group.tolist())
        for member in members:
            holders[member] |= members
    return shared, holders
