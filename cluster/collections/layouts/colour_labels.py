"""Folders of coloured label maps, whose name alone does not give them away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from cluster.collections.layouts.words import Modality, folder_meaning
from cluster.collections.names import fold, folder_parts

_COLOUR_FOLDERS = frozenset({"color", "colour"})


def is_coloured(folder: str) -> bool:
    """Whether a folder is named `color`, or lies below one that is."""
    return not _COLOUR_FOLDERS.isdisjoint(fold(folder).split("/"))


def colour_label_folders(folders: list[str]) -> set[str]:
    """Return the `color` folders with infrared and visible sister folders, and those below them.

    FMB stores its coloured label maps in such folders.
    """
    candidates = [folder for folder in folders if is_coloured(folder)]
    coloured = defaultdict[str, list[str]](list)
    for folder in candidates:
        for above, part in _steps(folder):
            if part.casefold() in _COLOUR_FOLDERS:
                coloured[above].append(folder)
    sisters = defaultdict[str, set[Modality | None]](set)
    for folder in folders if candidates else ():
        for above, part in _steps(folder):
            if above in coloured:
                sisters[above].add(folder_meaning(part)[0])
    both = (above for above, found in sisters.items() if {"ir", "vis"} <= found)
    return {folder for above in both for folder in coloured[above]}


def _steps(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the folded parent path and the name of each component of a folder."""
    parts = folder_parts(folder)
    for depth, part in enumerate(parts):
        yield fold("/".join(parts[:depth])), part
