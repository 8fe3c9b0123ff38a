"""The pairs of all parts of a collection, in one order and with unique names."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import NamedTuple, Protocol

from cluster.collections.layouts.division import File
from cluster.collections.layouts.ignored import Ignored
from cluster.collections.layouts.unmatched import Pair
from cluster.collections.names import natural_order
from cluster.collections.spool import Rows, Runs

_NUMBERED = re.compile(r"~[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Discovery:
    """The pairs found in a collection, and the files that belong to none."""

    pairs: Sequence[Pair]
    """Sorted by id in natural order (2 before 10)."""
    matched: dict[str, int]
    """Number of pairs per layout, for layouts with at least one pair."""
    single: Sequence[str]
    """Images without a partner."""
    ignored: dict[str, int]
    """Number of ignored files per reason."""
    ignored_examples: dict[str, str] = field(default_factory=dict)
    """One ignored file per reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """What a listing left out, with the reason, such as a FIFO or an invalid name."""

    @property
    def leftover(self) -> bool:
        """Whether there may be images that are in no pair."""
        return bool(self.single or self.skipped)


class Found(NamedTuple):
    """What was found in a part of a collection."""

    pairs: Sequence[Pair]
    """In the order in which they were found, which numbers equal ids."""
    single: Sequence[str]
    matched: Mapping[str, int]
    """Number of pairs per layout, in the order in which the layouts were tried."""
    ignored: Ignored


class Watch(Protocol):
    """What else learns of the parts of a collection."""

    def begin(self) -> None:
        """Forget all parts: the search begins, perhaps anew."""

    def add(self, files: Sequence[File], pairs: Sequence[Pair]) -> None:
        """Take note of the files of a part and of its pairs."""


def gather(
    parts: Iterable[Sequence[File]],
    match: Callable[[Sequence[File]], Found],
    watch: Watch | None = None,
) -> Discovery:
    """Find the pairs of each part.

    Args:
        parts: The files of a collection.
        match: Finds the pairs of a part.
        watch: Told of each part and its pairs.
    """
    pairs, single = Runs[tuple[str, ...]](_pair_order), Runs[str](natural_order)
    matched, ignored, numbered = Counter[str](), Ignored(), set[str]()
    if watch is not None:
        watch.begin()
    for part in parts:
        found = match(part)
        pairs.add(map(tuple, found.pairs))
        single.add(found.single)
        matched.update(found.matched)
        ignored.update(found.ignored)
        numbered |= {pair[0] for pair in found.pairs if "~" in pair[0] and _is_numbered(pair[0])}
        if watch is not None:
            watch.add(part, found.pairs)
    return Discovery(
        Rows(_identified(starmap(Pair, pairs), numbered), lambda values: Pair(*values)),
        {layout: count for layout, count in matched.items() if count},
        Rows(single),
        ignored.counts(),
        ignored.examples(),
    )


def _pair_order(pair: tuple[str, ...]) -> tuple[str, str]:
    return natural_order(pair[0])


def _is_numbered(pair_id: str) -> bool:
    return _NUMBERED.search(pair_id) is not None


def _identified(pairs: Iterable[Pair], taken: set[str]) -> Iterator[Pair]:
    """Yield the pairs in the order of their ids, of which repeated ones get `~2`, `~3`, ….

    Args:
        pairs: The pairs, sorted by their ids.
        taken: The ids that end in a number of this kind.
    """
    taken, previous, number = set(taken), None, 1
    renamed: list[tuple[tuple[str, str], Pair]] = []
    for pair in pairs:
        if pair.pair_id == previous:
            number += 1
            while (pair_id := f"{previous}~{number}") in taken:
                number += 1
            heapq.heappush(renamed, (natural_order(pair_id), pair._replace(pair_id=pair_id)))
            continue
        previous, number = pair.pair_id, 1
        while renamed and renamed[0][0] < natural_order(previous):
            yield heapq.heappop(renamed)[1]
        yield pair
    yield from (heapq.heappop(renamed)[1] for _ in range(len(renamed)))
