"""The pairs of a collection, found by the names of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from cluster.collections.layouts.division import DividedFiles, File, heads_of_folders
from cluster.collections.layouts.four_channel import find_first_pngs
from cluster.collections.layouts.gathering import Discovery, Found, Watch, gather
from cluster.collections.layouts.registry import LAYOUTS, Layout
from cluster.collections.layouts.unmatched import Surroundings, Unmatched
from cluster.collections.spool import RECORDS_AT_ONCE
from fusion_core.errors import InvalidValueError


def find_pairs(
    keys: Iterable[str],
    *,
    layout: Layout = "auto",
    read_head: Callable[[str], bytes] | None = None,
    at_once: int = RECORDS_AT_ONCE,
) -> Discovery:
    """Find the pairs among the files of a collection.

    Every layout is tried on the images that the previous layouts did not match, so a collection may
    mix layouts. Four-channel files are considered only if no other layout matched.

    Args:
        keys: Paths relative to the collection, with `/` between folders, in any order.
        layout: The layout to look for, or `auto` for all.
        read_head: Returns the first 32 bytes or more of a file; without it `auto` does not detect
            four-channel files.
        at_once: Number of files that are in memory together.

    Raises:
        InvalidValueError: The layout is unknown.
    """
    files = DividedFiles(((key, 0) for key in keys), at_once)
    return find_in_parts(files, layout=layout, read_head=read_head)


def find_in_parts(
    files: DividedFiles,
    *,
    layout: Layout = "auto",
    read_head: Callable[[str], bytes] | None = None,
    watch: Watch | None = None,
) -> Discovery:
    """Find the pairs among files that may be divided into parts, as `find_pairs` does.

    Args:
        files: The files.
        layout: The layout to look for, or `auto` for all.
        read_head: Returns the first 32 bytes or more of a file.
        watch: Told of each part and its pairs.

    Raises:
        InvalidValueError: The layout is unknown.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise InvalidValueError(
            f"Expected layout to be one of {('auto', *LAYOUTS)}, but got {layout!r}"
        )
    match = partial(_match, layout=layout, surroundings=files.surroundings)
    if files.surroundings is None:
        return gather(files, partial(match, read_head=read_head), watch)
    found = gather(files, match, watch)
    if found.pairs or layout != "auto" or read_head is None:
        return found
    # Folders are looked into for four-channel files, since no part contains a pair.
    first: dict[str, str] = {}
    for part in files:
        find_first_pngs(Unmatched(map(_key, part), surroundings=files.surroundings), first)
    return gather(files, partial(match, read_head=heads_of_folders(first, read_head)), watch)


def _match(
    part: Sequence[File],
    *,
    layout: Layout,
    surroundings: Surroundings | None,
    read_head: Callable[[str], bytes] | None = None,
) -> Found:
    """Find the pairs of a part."""
    images = Unmatched(
        map(_key, part),
        read_head=read_head,
        by_name=layout != "auto",
        surroundings=surroundings,
    )
    matched = {}
    for name, match in LAYOUTS.items():
        if layout in ("auto", name):
            before = len(images.pairs)
            match(images)
            matched[name] = len(images.pairs) - before
    return Found(images.pairs, list(images.keys()), matched, images.ignored)


def _key(file: File) -> str:
    return file[0]
