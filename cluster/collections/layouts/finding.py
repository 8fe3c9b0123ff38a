"""The pairs of a collection, found by the names of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cluster.collections.layouts.registry import LAYOUTS, Layout
from cluster.collections.layouts.unmatched import Pair, Unmatched
from cluster.collections.names import natural_order
from fusion_core.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class Discovery:
    """The pairs found in a collection, and the files that belong to none."""

    pairs: list[Pair]
    """Sorted by id in natural order (2 before 10)."""
    matched: dict[str, int]
    """Number of pairs per layout, for layouts with at least one pair."""
    single: list[str]
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


def find_pairs(
    keys: Iterable[str],
    *,
    layout: Layout = "auto",
    read_head: Callable[[str], bytes] | None = None,
) -> Discovery:
    """Find the pairs among the files of a collection.

    Every layout is tried on the images that the previous layouts did not match, so a collection may
    mix layouts. Four-channel files are considered only if no other layout matched.

    Args:
        keys: Paths relative to the collection, with `/` between folders, in any order.
        layout: The layout to look for, or `auto` for all.
        read_head: Returns the first 32 bytes or more of a file; without it `auto` does not detect
            four-channel files.

    Raises:
        InvalidValueError: The layout is unknown.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise InvalidValueError(
            f"Expected layout to be one of {('auto', *LAYOUTS)}, but got {layout!r}"
        )
    images = Unmatched(keys, read_head=read_head, by_name=layout != "auto")
    matched = {}
    for name, match in LAYOUTS.items():
        if layout in ("auto", name):
            before = len(images.pairs)
            match(images)
            if len(images.pairs) > before:
                matched[name] = len(images.pairs) - before
    pairs = sorted(images.identified(), key=lambda pair: natural_order(pair.pair_id))
    single = sorted(images.keys(), key=natural_order)
    return Discovery(
        pairs, matched, single, dict(images.ignored), ignored_examples=images.ignored_examples
    )
