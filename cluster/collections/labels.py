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
from typing import NamedTuple

from cluster.collections.layouts.words import folder_meaning
from cluster.collections.names import fold, folder_parts, is_neutral_folder

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
        folders = (_split(key)[0] for key in (self.vis_key, self.ir_key))
        return list(dict.fromkeys([*map(_place, folders), fold(self.subset)]))


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a collection."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """Path of the label by `pair_id`, of the pairs that have one."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Labels of other kinds that pairs have, too, by folder and extension."""


class _Candidate(NamedTuple):
    key: str
    places: tuple[str, ...]
    kind: tuple[int, str]
    """Rank of the extension, and the folder for labels; the same for all labels of one kind."""


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
    by_stem = _candidates(keys, only=only)
    fitting = {pair.pair_id: _fitting(pair, by_stem) for pair in pairs} if by_stem else {}
    owners = Counter(one.key for found in fitting.values() for one in found.values())
    counts: defaultdict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
    for pair in pairs:
        for kind, one in list(fitting.get(pair.pair_id, {}).items()):
            if owners[one.key] > 1:
                del fitting[pair.pair_id][kind]
            else:
                counts[pair.subset][kind] += 1
    chosen = {
        subset: min(kinds, key=lambda kind: (-kinds[kind], kind))
        for subset, kinds in counts.items()
        if kinds
    }
    labels, others = dict[str, str](), Counter[str]()
    for pair in pairs:
        for kind, one in fitting.get(pair.pair_id, {}).items():
            if kind == chosen[pair.subset]:
                labels[pair.pair_id] = one.key
            else:
                others[f"{kind[1]}/*.{_FORMATS[kind[0]]}".lstrip("/")] += 1
    return Labels(labels, others)


def label_folder(key: str) -> str:
    """Return the folder for labels in a path, such as `Annotations`; otherwise `labels`."""
    parts = _split(key)[0]
    return next((part for part in reversed(parts) if _LABEL_FOLDER.fullmatch(part)), "labels")


def _candidates(keys: Iterable[str], *, only: bool) -> dict[str, list[_Candidate]]:
    """Return the files that may be labels, by their folded stems."""
    by_stem: defaultdict[str, list[_Candidate]] = defaultdict(list)
    folders: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key in sorted(keys):
        folder, _, name = key.rpartition("/")
        stem, _, extension = name.rpartition(".")
        extension = extension.lower()
        if not stem or stem.startswith(".") or extension not in _FORMATS:
            continue
        if folder not in folders:
            folders[folder] = _label_places(folder_parts(f"{folder}/" if folder else ""))
        label, places = folders[folder]
        if label or only or extension in _BESIDE_IMAGES:
            kind = (_FORMATS.index(extension), label)
            by_stem[fold(stem)].append(_Candidate(key, places, kind))
    return dict(by_stem)


def _label_places(parts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the folder for labels among folders, if any, and the places that they are."""
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


def _fitting(
    pair: LabelledPair, by_stem: Mapping[str, Sequence[_Candidate]]
) -> dict[tuple[int, str], _Candidate]:
    """Return the nearest label of each kind."""
    places = pair.places()
    found: dict[tuple[int, str], tuple[int, _Candidate]] = {}
    for stem in pair.stems():
        for one in by_stem.get(stem, ()):
            distance = min(_distance(own, place) for own in places for place in one.places)
            best = found.get(one.kind)
            if distance < _TOO_FAR and (best is None or distance < best[0]):
                found[one.kind] = distance, one
    return {kind: one for kind, (_, one) in found.items()}


_TOO_FAR = 1_000_000


def _distance(pair: str, label: str) -> int:
    """Return how many folders lie between two places, one of which must contain the other."""
    if pair == label:
        return 0
    inner, outer = (pair, label) if len(pair) > len(label) else (label, pair)
    if outer and not inner.startswith(f"{outer}/"):
        return _TOO_FAR
    return inner.count("/") - (outer.count("/") if outer else -1)


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
