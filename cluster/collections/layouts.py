"""Find the infrared/visible pairs of a collection from the names of its files.

The layouts of the public collections are covered: sister folders; a prefix, suffix or infix within
one folder; and four-channel PNG files. Names are interpreted by `cluster.collections.names`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, NamedTuple, get_args

from cluster.collections import names as naming
from cluster.collections.names import Modality, Reading
from fusion_core.errors import InvalidValueError

Layout = Literal["auto", "folders", "prefix", "suffix", "infix", "four_channel"]

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_PNG_COLOUR_TYPE_AT = 25
_PNG_FOUR_CHANNELS = 6


@dataclass(frozen=True, slots=True)
class Pair:
    """The infrared and the visible image of one scene."""

    pair_id: str
    """The infrared key without extension and modality; unique within a collection."""
    ir_key: str
    """Path of the infrared file relative to the collection."""
    vis_key: str
    """Path of the visible file; the same as `ir_key` for a four-channel file."""
    subset: str
    """Split, scene or sequence, derived from the folders; "" if there is none."""


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
    skipped: dict[str, str] = field(default_factory=dict)
    """What a listing left out, with the reason, such as a FIFO or an invalid name."""

    @property
    def leftover(self) -> bool:
        """Whether there may be images that are in no pair."""
        return bool(self.single or self.skipped)


class _Candidate(NamedTuple):
    """An image under one interpretation of its name."""

    folder: str
    stem: str
    pair_id: str
    subset: str


# Candidates of one modality by the key that both images of a pair share.
_Side = defaultdict[str, list[_Candidate]]
# A stem and one interpretation of it.
_NameReading = tuple[str, Reading]


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
    if layout not in get_args(Layout):
        raise InvalidValueError(
            f"Expected layout to be one of {get_args(Layout)}, but got {layout!r}"
        )
    collection = _Collection(keys)
    for name, match in _MATCHERS.items():
        if layout in ("auto", name):
            collection.count(name, match)
    if layout == "four_channel" or (layout == "auto" and read_head and not collection.pairs):
        judge = read_head if layout == "auto" else None
        collection.count("four_channel", lambda images: _match_four_channel(images, judge))
    return collection.discovery()


class _Collection:
    """The images that are not matched yet, and the pairs found so far."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.images: dict[str, dict[str, tuple[str, ...]]] = {}
        """Folder ("" or ending in `/`) -> stem -> extensions as spelt."""
        self.pairs: list[Pair] = []
        self.matched: dict[str, int] = {}
        self.ignored: Counter[str] = Counter()
        # Sorted, so that the result does not depend on the order of a listing.
        self._sort_in(sorted(set(keys)))
        for folder in naming.colour_label_folders(list(self.images)):
            self.ignored[naming.LABELS] += sum(map(len, self.images.pop(folder).values()))

    def _sort_in(self, keys: list[str]) -> None:
        reasons: dict[str, str | None] = {}
        lone: dict[str, tuple[str, ...]] = {}
        for key in keys:
            cut = key.rfind("/") + 1
            folder, name = key[:cut], key[cut:]
            if folder not in reasons:
                reasons[folder] = naming.why_ignore_folder(folder)
            reason = reasons[folder] or naming.why_ignore_file(name)
            if reason:
                self.ignored[reason] += 1
                continue
            stem, _, extension = name.rpartition(".")
            stems = self.images.setdefault(folder, {})
            formats = lone.setdefault(extension, (extension,))
            stems[stem] = stems[stem] + formats if stem in stems else formats

    def count(self, layout: str, match: Callable[[_Collection], None]) -> None:
        """Apply the matcher of a layout and record the number of pairs that it finds."""
        before = len(self.pairs)
        match(self)
        if len(self.pairs) > before:
            self.matched[layout] = len(self.pairs) - before

    def pair_up(self, infrared: _Side, visible: _Side) -> None:
        """Pair the candidates with equal keys that are not matched yet."""
        for key, ones in infrared.items():
            if key in visible:
                for ir, vis in _partners(self._free(ones), self._free(visible[key])):
                    self._take(ir, vis)

    def _free(self, ones: list[_Candidate]) -> list[_Candidate]:
        return [one for one in ones if one.stem in self.images[one.folder]]

    def _take(self, ir: _Candidate, vis: _Candidate) -> None:
        ir_formats = self.images[ir.folder].pop(ir.stem)
        vis_formats = self.images[vis.folder].pop(vis.stem)
        self.ignored[naming.OTHER_FORMAT] += len(ir_formats) + len(vis_formats) - 2
        ir_format, vis_format = _best_formats(ir_formats, vis_formats)
        ir_key = f"{ir.folder}{ir.stem}.{ir_format}"
        vis_key = f"{vis.folder}{vis.stem}.{vis_format}"
        self.pairs.append(Pair(ir.pair_id, ir_key, vis_key, ir.subset))

    def take_four_channel(self, folder: str, stem: str) -> None:
        """Add a pair whose infrared and visible images are channels of the same PNG file."""
        formats = self.images[folder].pop(stem)
        self.ignored[naming.OTHER_FORMAT] += len(formats) - 1
        key = f"{folder}{stem}.{_png_formats(formats)[0]}"
        subset = naming.folder_subset(naming.folder_parts(folder))
        self.pairs.append(Pair(folder + stem, key, key, subset))

    def discovery(self) -> Discovery:
        """Return the pairs; the remaining images have no partner."""
        single = (
            f"{folder}{stem}.{extension}"
            for folder, stems in self.images.items()
            for stem, formats in stems.items()
            for extension in formats
        )
        pairs = _with_unique_ids(self.pairs)
        return Discovery(
            sorted(pairs, key=lambda pair: naming.natural_order(pair.pair_id)),
            self.matched,
            sorted(single, key=naming.natural_order),
            dict(+self.ignored),  # without the zeros
        )


def _partners(
    irs: list[_Candidate], vis: list[_Candidate]
) -> Iterator[tuple[_Candidate, _Candidate]]:
    """Yield the pairs among candidates of one key, those with identical spelling first."""
    if len(irs) == len(vis) == 1:
        yield irs[0], vis[0]
        return
    waiting, rest = sorted(vis), []
    for ir in sorted(irs):
        alike = next((one for one in waiting if one.pair_id == ir.pair_id), None)
        if alike is None:
            rest.append(ir)
        else:
            waiting.remove(alike)
            yield ir, alike
    yield from zip(rest, waiting, strict=False)


def _best_formats(irs: tuple[str, ...], vis: tuple[str, ...]) -> tuple[str, str]:
    """Return an extension per modality: preferably one that both have, and lossless over JPEG."""
    if len(irs) == len(vis) == 1:
        return irs[0], vis[0]

    def cost(formats: tuple[str, str]) -> tuple[bool, int, int]:
        ir, visible = (naming.FORMAT_RANK[extension.casefold()] for extension in formats)
        return ir != visible, ir, visible

    return min(product(irs, vis), key=cost)


def _with_unique_ids(pairs: list[Pair]) -> Iterator[Pair]:
    """Yield the pairs in order; repeated ids get the suffix `~2`, `~3` and so on."""
    taken = {pair.pair_id for pair in pairs}
    seen: set[str] = set()
    for pair in pairs:
        pair_id, number = pair.pair_id, 1
        if pair_id in seen:
            while pair_id in taken:
                number += 1
                pair_id = f"{pair.pair_id}~{number}"
            taken.add(pair_id)
            pair = replace(pair, pair_id=pair_id)
        seen.add(pair_id)
        yield pair


def _sides() -> dict[Modality, _Side]:
    return {"ir": defaultdict(list), "vis": defaultdict(list)}


def _match_folders(collection: _Collection) -> None:
    """Match equal stems in sibling folders, the deepest modality folder first."""
    slots: defaultdict[tuple[int, str], list[tuple[str, Reading]]] = defaultdict(list)
    for folder in collection.images:
        for reading in naming.folder_readings(folder):
            slots[reading.depth, reading.key].append((folder, reading))
    for slot in sorted(slots, reverse=True):
        sides = _sides()
        if {reading.modality for _, reading in slots[slot]} != sides.keys():
            continue
        for folder, reading in slots[slot]:
            side = sides[reading.modality]
            for stem in collection.images[folder]:
                one = _Candidate(folder, stem, reading.name + stem, reading.subset)
                side[naming.fold(stem)].append(one)
        collection.pair_up(sides["ir"], sides["vis"])


def _match_names(collection: _Collection, read: Callable[[str], Iterator[Reading]]) -> None:
    """Match stems within each folder by their text without the modality word."""
    for folder, stems in collection.images.items():
        _pair_readings(collection, folder, ((stem, one) for stem in stems for one in read(stem)))


def _match_prefixes(collection: _Collection) -> None:
    """Match the text after the prefix, then less strictly if the match is unambiguous.

    The less strict steps are for TNO, where the two names of a pair end differently
    (`IR_meting003_g`, `VIS_meting003_r`). They count all files of the folder, matched or not,
    because a wrong pair is worse than a missing one.
    """
    for folder, stems in collection.images.items():
        readings = [(stem, one) for stem in stems for one in naming.prefix_readings(stem)]
        _pair_readings(collection, folder, readings)
        if len({one.modality for stem, one in readings if stem in stems}) < 2:
            continue
        trimmed = [(stem, naming.without_letter(one)) for stem, one in readings]
        whole_folder = [(stem, one._replace(key="")) for stem, one in trimmed]
        for looser in (trimmed, whole_folder):
            _pair_readings(collection, folder, _only_ones(looser))


def _only_ones(readings: list[_NameReading]) -> list[_NameReading]:
    """Return the readings whose key is unique within their modality."""
    number = Counter((one.modality, one.key) for _, one in readings)
    return [(stem, one) for stem, one in readings if number[one.modality, one.key] == 1]


def _pair_readings(collection: _Collection, folder: str, readings: Iterable[_NameReading]) -> None:
    """Match readings of the stems of one folder, the rightmost modality word first."""
    parts = naming.folder_parts(folder)
    subsets: dict[str, str] = {}
    by_depth: defaultdict[int, dict[Modality, _Side]] = defaultdict(_sides)
    for stem, one in readings:
        if one.subset not in subsets:
            subsets[one.subset] = naming.folder_subset([*parts, one.subset])
        pair_id = (folder + one.name).rstrip("/") or stem
        candidate = _Candidate(folder, stem, pair_id, subsets[one.subset])
        by_depth[one.depth][one.modality][one.key].append(candidate)
    for depth in sorted(by_depth, reverse=True):
        collection.pair_up(by_depth[depth]["ir"], by_depth[depth]["vis"])


def _match_four_channel(collection: _Collection, read_head: Callable[[str], bytes] | None) -> None:
    """Add the PNG files of each folder whose first PNG has four channels.

    Without `read_head` the PNG files of all folders are added.
    """
    for folder, stems in collection.images.items():
        pngs = [stem for stem, formats in stems.items() if _png_formats(formats)]
        if pngs and read_head:
            first = min(pngs, key=naming.natural_order)
            head = read_head(f"{folder}{first}.{_png_formats(stems[first])[0]}")
            if not _has_four_channels(head):
                continue
        for stem in pngs:
            collection.take_four_channel(folder, stem)


def _png_formats(formats: tuple[str, ...]) -> list[str]:
    return [extension for extension in formats if extension.casefold() == "png"]


def _has_four_channels(head: bytes) -> bool:
    colour_type = head[_PNG_COLOUR_TYPE_AT : _PNG_COLOUR_TYPE_AT + 1]
    return head.startswith(_PNG_START) and colour_type == bytes([_PNG_FOUR_CHANNELS])


_MATCHERS: dict[str, Callable[[_Collection], None]] = {
    "folders": _match_folders,
    "prefix": _match_prefixes,
    "suffix": lambda collection: _match_names(collection, naming.suffix_readings),
    "infix": lambda collection: _match_names(collection, naming.infix_readings),
}
