"""Subsets that repeat the pairs of other subsets, as the detection part of MSRS does."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.collections.layouts import Pair

_COMPRESSED = (".png", ".jpg", ".jpeg", ".webp", ".jp2")
"""Formats in which two images hardly ever have the same number of bytes by chance."""
_LEAST_SHARE = 0.5

_Identity = tuple[str, int, int]
"""The name of a pair, and the sizes of its files in bytes."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """A subset most of whose pairs are in other subsets, too."""

    subset: str
    count: int
    """Number of its pairs that are in other subsets."""
    others: tuple[str, ...]
    """The subsets that contain them."""


def find_repetitions(pairs: Iterable[Pair], sizes: Mapping[str, int]) -> list[Repetition]:
    """Find the subsets at least half of whose pairs are in other subsets.

    Two pairs count as equal if their files have the same names and the same sizes in bytes. In the
    detection part of MSRS, whose names are unique, equal names suffice.

    Args:
        pairs: The pairs of a collection.
        sizes: Size in bytes by key.
    """
    subsets: defaultdict[str, set[_Identity]] = defaultdict(set)
    holders: defaultdict[_Identity, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.ir_key.lower().endswith(_COMPRESSED):
            name = posixpath.basename(pair.ir_key).casefold()
            identity = name, sizes[pair.ir_key], sizes[pair.vis_key]
            subsets[pair.subset].add(identity)
            holders[identity].add(pair.subset)
    found = []
    for subset, identities in sorted(subsets.items()):
        repeated = [holders[identity] for identity in identities if len(holders[identity]) > 1]
        repeated = repeated or _repeated_in_msrs(subset, subsets)
        if len(repeated) >= _LEAST_SHARE * len(identities):
            others = set().union(*repeated) - {subset}
            found.append(Repetition(subset, len(repeated), tuple(sorted(others))))
    return found


def _repeated_in_msrs(subset: str, subsets: Mapping[str, set[_Identity]]) -> list[set[str]]:
    """Return the subsets that contain each repeated name, if this is the detection part of MSRS."""
    folder, _, last = subset.rpartition("/")
    others = [posixpath.join(folder, split) for split in ("train", "test")]
    if last != "detection" or not all(other in subsets for other in others):
        return []
    own, train, test = ({name for name, *_ in subsets[one]} for one in (subset, *others))
    if train & test:
        return []
    return [{others[name in test]} for name in own & (train | test)]
