"""Equal file names in sister folders such as `ir` and `visible`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from cluster.collections.layouts.unmatched import Candidate, Unmatched, new_sides
from cluster.collections.layouts.words import HOLE, Reading, folder_meaning
from cluster.collections.names import fold, folder_parts, folder_subset


def match(images: Unmatched) -> None:
    """Match equal stems in sister folders, the deepest modality folder first."""
    slots: defaultdict[tuple[int, str], list[tuple[str, Reading]]] = defaultdict(list)
    for folder in images.folders:
        for reading in _readings(folder):
            slots[reading.depth, reading.key].append((folder, reading))
    for slot in sorted(slots, reverse=True):
        sides = new_sides()
        if {reading.modality for _, reading in slots[slot]} != sides.keys():
            continue
        for folder, reading in slots[slot]:
            side = sides[reading.modality]
            for stem in images.folders[folder]:
                one = Candidate(folder, stem, reading.name + stem, reading.subset)
                side[fold(stem)].append(one)
        images.pair_up(sides)


def _readings(folder: str) -> Iterator[Reading]:
    """Yield a reading for each component of a folder that denotes a modality."""
    parts = folder_parts(folder)
    for depth, part in enumerate(parts):
        modality, base = folder_meaning(part)
        if modality is None:
            continue
        above, below = parts[:depth], parts[depth + 1 :]
        rest = [*above, base, *below]
        yield Reading(
            modality,
            depth,
            key=fold("/".join([*above, base + HOLE, *below])),
            name="".join(f"{part}/" for part in rest if part),
            subset=folder_subset(rest),
        )
