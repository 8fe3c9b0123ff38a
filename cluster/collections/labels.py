"""The label file of each pair, such as boxes or a mask, found by its name.

A label belongs to a pair if it has the stem of the pair or of one of its images, and lies at the
same place of the tree or in a folder around it, where folders for labels, for a modality and for
images of any kind do not count. `labels/train/010001.txt`, `train/labels/010001.txt` and
`Annotations/010001.xml` all belong to `visible/train/010001.jpg`. A label that fits two pairs
belongs to none.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from cluster.collections.layouts.words import folder_meaning
from cluster.collections.names import fold, folder_parts, is_neutral_folder
from cluster.collections.spool import BUCKETS, RECORDS_AT_ONCE, Parts, Rows, bucket_of

_FORMATS = ("txt", "xml", "json", "png", "bmp", "tif", "tiff")
"""Extensions of labels, of which the first is taken if pairs have labels of several kinds."""
_BESIDE_IMAGES = ("txt", "xml", "json")
"""Extensions of labels that may lie among the images."""
_LABEL_FOLDER = re.compile(
    r"(?:labels?|masks?|annotations?)\d*|(?P<split>train|val|test)labelr?"
    r"|(?P<base>.+)[_-](?:labels?|masks?|annotations?)",
    re.IGNORECASE,
)


class LabelledPair(NamedTuple):
    """What the label of a pair is found by; paths are relative to the collection."""

    pair_id: str
    ir_key: str
    vis_key: str
    subset: str = ""

    def stems(self) -> dict[str, str]:
        """Return the stems that its label may have, and what has each of them."""
        ir, vis = (_split(key)[1] for key in (self.ir_key, self.vis_key))
        named = {fold(posixpath.basename(self.pair_id)): "pair"}
        named |= {fold(ir): "infrared", fold(vis): "visible"}
        return {**named, fold(vis): "both"} if fold(ir) == fold(vis) else named

    def places(self) -> list[str]:
        """Return the places of the pair, the most likely one first."""
        folders = (key.rpartition("/")[0] for key in (self.vis_key, self.ir_key))
        return list(dict.fromkeys([*map(_place_of, folders), fold(self.subset)]))


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a collection."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """Path of the label by `pair_id`, of the pairs that have one."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Labels of other kinds that pairs have, too, by folder and extension."""


@dataclass(frozen=True, slots=True)
class LabelRows:
    """The labels of a collection, by the number of their pair."""

    rows: Sequence[tuple[int, str]] = ()
    """Number of the pair and path of its label, in order, for the pairs that have one."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Labels of other kinds that pairs have, too, by folder and extension."""


_Kind = tuple[int, str]
"""Rank of the extension, and the folder for labels; the same for all labels of one kind."""


class _File(NamedTuple):
    """A file that may be a label."""

    stem: str
    key: str
    kind: _Kind
    places: tuple[str, ...]


class _Wanted(NamedTuple):
    """A stem that the label of a pair may have."""

    stem: str
    row: int
    turn: int
    """Position among the stems of the pair."""
    places: tuple[str, ...]
    subset: str


class _Fit(NamedTuple):
    """The nearest label of one kind for a pair; the least one is taken."""

    row: int
    kind: _Kind
    distance: int
    turn: int
    key: str
    first: tuple[int, str]
    """Position of the first label of the kind at any distance."""
    subset: str


def find_labels(
    keys: Iterable[str], pairs: Sequence[LabelledPair], *, only: bool = False
) -> Labels:
    """Find the label of each pair.

    All pairs of a subset get labels of the same kind: of the one that most of them have.

    Args:
        keys: Paths of the files of the collection, in any order.
        pairs: The pairs of the collection.
        only: Whether all files are labels, as in a folder that the user names.
    """
    files = LabelFiles(only=only)
    files.add(keys)
    found = files.match(pairs, len(pairs))
    return Labels({pairs[row].pair_id: key for row, key in found.rows}, found.others)


class LabelFiles:
    """The files of a collection that may be labels.

    Args:
        only: Whether all files are labels, as in a folder that the user names.
        at_once: Number of files that are in memory together.
    """

    def __init__(self, *, only: bool = False, at_once: int = RECORDS_AT_ONCE) -> None:
        self._only, self._at_once = only, at_once
        self._by_stem = Parts[_File | _Wanted](lambda one: bucket_of(one.stem), at_once)

    def add(self, keys: Iterable[str]) -> None:
        """Add those of some files that may be labels, which must not be images of pairs."""
        for key in keys:
            found = _parse(key, only=self._only)
            if found is not None:
                self._by_stem.add(found)

    def match(self, pairs: Iterable[LabelledPair], count: int) -> LabelRows:
        """Find the label of each pair, once, after all files were added.

        Args:
            pairs: The pairs of the collection.
            count: Their number.
        """
        if not self._by_stem:
            return LabelRows()
        for row, pair in enumerate(pairs):
            places = tuple(pair.places())
            for turn, stem in enumerate(pair.stems()):
                self._by_stem.add(_Wanted(stem, row, turn, places, pair.subset))

        def by_row() -> Parts[_Fit]:
            return Parts(lambda fit: fit.row * BUCKETS // count, self._at_once)

        fits, nearest, owned = by_row(), Parts[_Fit](_bucket_of_key, self._at_once), by_row()
        for part in self._by_stem:
            for fit in _fits(part):
                fits.add(fit)
        for group in fits:
            for fit in _nearest(group):
                nearest.add(fit)
        counts: defaultdict[str, Counter[_Kind]] = defaultdict(Counter)
        for group in nearest:
            owners = Counter(fit.key for fit in group)
            for fit in group:
                if owners[fit.key] == 1:  # a label that fits two pairs belongs to none
                    owned.add(fit)
                    counts[fit.subset][fit.kind] += 1
        chosen = {
            subset: min(kinds, key=lambda kind: (-kinds[kind], kind))
            for subset, kinds in counts.items()
        }
        others = Counter[str]()
        return LabelRows(Rows(_choose(owned, chosen, others)), others)


def _bucket_of_key(fit: _Fit) -> int:
    return bucket_of(fit.key)


def _fits(part: Sequence[_File | _Wanted]) -> Iterator[_Fit]:
    """Yield the nearest label of each kind, for each stem of a pair."""
    offered: defaultdict[str, list[_File]] = defaultdict(list)
    for one in part:
        if isinstance(one, _File):
            offered[one.stem].append(one)
    indexes = {stem: _Nearby(files) for stem, files in offered.items()}
    for one in part:
        if isinstance(one, _Wanted) and one.stem in indexes:
            for kind, (distance, key, first) in indexes[one.stem].nearest(one.places).items():
                yield _Fit(one.row, kind, distance, one.turn, key, (one.turn, first), one.subset)


def _nearest(fits: list[_Fit]) -> Iterator[_Fit]:
    """Yield the nearest label of each kind, for each pair."""
    fits.sort(key=lambda fit: fit[:5])
    for _, same in groupby(fits, key=lambda fit: fit[:2]):
        best, *others = same
        first = min((fit.first for fit in others), default=best.first)
        yield best._replace(first=min(first, best.first))


def _choose(
    owned: Iterable[list[_Fit]], chosen: Mapping[str, _Kind], others: Counter[str]
) -> Iterator[tuple[int, str]]:
    """Yield the labels of the chosen kinds, and count the others."""
    for group in owned:
        for fit in sorted(group, key=attrgetter("row", "first")):
            if fit.kind == chosen[fit.subset]:
                yield fit.row, fit.key
            else:
                others[f"{fit.kind[1]}/*.{_FORMATS[fit.kind[0]]}".lstrip("/")] += 1


_Nearest = dict[_Kind, tuple[int, str, str]]
"""Distance and path of the nearest label of each kind, and the first path at any distance."""


class _Nearby:
    """The labels of one stem, by their places."""

    def __init__(self, files: Iterable[_File]) -> None:
        self._at: defaultdict[str, dict[_Kind, str]] = defaultdict(dict)
        """The first label of each kind at a place."""
        self._within: defaultdict[str, _Nearest] = defaultdict(dict)
        """The labels at a place and in it; their distance is the depth of their own place."""
        for file in sorted(files, key=attrgetter("key")):
            for place in file.places:
                self._at[place].setdefault(file.kind, file.key)
                for around in (*_around(place), place):
                    _add(self._within[around], file.kind, _depth(place), file.key, file.key)

    def nearest(self, places: Iterable[str]) -> _Nearest:
        """Return the nearest label of each kind: at one of some places, in it or around it."""
        found: _Nearest = {}
        for own in places:
            depth = _depth(own)
            for kind, (label_depth, key, first) in self._within.get(own, {}).items():
                _add(found, kind, label_depth - depth, key, first)
            for place in _around(own):
                for kind, key in self._at.get(place, {}).items():
                    _add(found, kind, depth - _depth(place), key, key)
        return found


def _add(found: _Nearest, kind: _Kind, distance: int, key: str, first: str) -> None:
    known = found.get(kind)
    if known is None:
        found[kind] = distance, key, first
    else:
        found[kind] = *min(known[:2], (distance, key)), min(known[2], first)


def _around(place: str) -> Iterator[str]:
    """Yield the places that contain a place, the outermost one first."""
    if place:
        parts = place.split("/")
        yield from ("/".join(parts[:depth]) for depth in range(len(parts)))


def may_be_label(key: str) -> bool:
    """Whether a file may be a label by its path."""
    return _parse(key, only=False) is not None


def _parse(key: str, *, only: bool) -> _File | None:
    """Return a file that may be a label, or None for other files."""
    folder, _, name = key.rpartition("/")
    stem, _, extension = name.rpartition(".")
    extension = extension.lower()
    if not stem or stem.startswith(".") or extension not in _FORMATS:
        return None
    label, places = _label_places(folder)
    if not (label or only or extension in _BESIDE_IMAGES):
        return None
    return _File(fold(stem), key, (_FORMATS.index(extension), label), places)


def label_folder(key: str) -> str:
    """Return the folder for labels in a path, such as `Annotations`; otherwise `labels`."""
    parts = _split(key)[0]
    return next((part for part in reversed(parts) if _LABEL_FOLDER.fullmatch(part)), "labels")


@lru_cache(maxsize=4096)
def _label_places(folder: str) -> tuple[str, tuple[str, ...]]:
    """Return the folder for labels in a path, if any, and the places that the path stands for."""
    parts = folder_parts(f"{folder}/" if folder else "")
    depth = next(
        (n for n in reversed(range(len(parts))) if _LABEL_FOLDER.fullmatch(parts[n])), None
    )
    if depth is None:
        return "", (_place(parts),)
    match = _LABEL_FOLDER.fullmatch(parts[depth])
    base = match and (match["split"] or match["base"])
    rest = [*parts[:depth], *parts[depth + 1 :]]
    places = [_place(rest)]
    if base:
        places.append(_place([*parts[:depth], base, *parts[depth + 1 :]]))
    return parts[depth], tuple(places)


def _depth(place: str) -> int:
    return place.count("/") + 1 if place else 0


@lru_cache(maxsize=4096)
def _place_of(folder: str) -> str:
    return _place(part for part in folder.split("/") if part)


def _place(parts: Iterable[str]) -> str:
    """Return folders without those that name a modality or images of any kind."""
    return fold("/".join(_meaningful(parts)))


def _meaningful(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        modality, base = folder_meaning(part)
        rest = base if modality else part
        if rest and not is_neutral_folder(rest):
            yield rest


def _split(path: str) -> tuple[list[str], str]:
    folder, _, name = path.rpartition("/")
    return [part for part in folder.split("/") if part], posixpath.splitext(name)[0]
