"""Equal file names in sister folders such as `ir` and `visible`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from cluster.collections.layouts.unmatched import Candidate, Unmatched, new_sides
from cluster.collections.layouts.words import HOLE, Modality, Reading, folder_meaning
from cluster.collections.names import fold, folder_parts, folder_subset


def match(images: Unmatched) -> None:
    """Match equal stems in sister folders."""
    match_in_sisters(images, lambda modality, stem: stem)


def match_in_sisters(images: Unmatched, name_of: Callable[[Modality, str], str | None]) -> None:
    """Match the stems of sister folders by the names that they have in common.

    The deepest modality folder is matched first.

    Args:
        images: The images that are not matched yet.
        name_of: Returns the name that both images of a pair share, or None for other stems.
    """
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
                name = name_of(reading.modality, stem)
                if name is not None:
                    one = Candidate(folder, stem, reading.name + name, reading.subset)
                    side[fold(name)].append(one)
        images.pair_up(sides)


def _readings(folder: str) -> Iterator[Reading]:
    """Yield a reading for each component of a folder that denotes a modality."""
    parts = folder_parts(folder)
    for depth, part in enumerate(parts):
        modality, base = folder_meaning(part)
        if modality is None:
            continue
        above, below = parts[:depth], parts[depth + 1 :]
        repeated = bool(above) and fold(above[-1]) == fold(base)
        rest = [*above, "" if repeated else base, *below]
        yield Reading(
            modality,
            depth,
            key=fold("/".join([*above, base + HOLE, *below])),
            name="".join(f"{part}/" for part in rest if part),
            subset=folder_subset(rest),
        )
