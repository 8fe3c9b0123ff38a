"""Matching of the stems within one folder, which the layouts of single folders share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from cluster.collections.layouts.unmatched import Candidate, Side, Unmatched, new_sides
from cluster.collections.layouts.words import Modality, Reading
from cluster.collections.names import folder_parts, folder_subset

StemReading = tuple[str, Reading]
"""A stem and one interpretation of it."""


def match_stems(images: Unmatched, read: Callable[[str], Iterator[Reading]]) -> None:
    """Match the stems within each folder by their text without the modality word."""
    for folder, stems in images.folders.items():
        pair_readings(images, folder, ((stem, one) for stem in stems for one in read(stem)))


def pair_readings(images: Unmatched, folder: str, readings: Iterable[StemReading]) -> None:
    """Match readings of the stems of one folder, the rightmost modality word first."""
    parts = folder_parts(folder)
    subsets: dict[str, str] = {}
    by_depth: defaultdict[int, dict[Modality, Side]] = defaultdict(new_sides)
    for stem, one in readings:
        if one.subset not in subsets:
            subsets[one.subset] = folder_subset([*parts, one.subset])
        pair_id = (folder + one.name).rstrip("/") or stem
        candidate = Candidate(folder, stem, pair_id, subsets[one.subset])
        by_depth[one.depth][one.modality][one.key].append(candidate)
    for depth in sorted(by_depth, reverse=True):
        images.pair_up(by_depth[depth])
