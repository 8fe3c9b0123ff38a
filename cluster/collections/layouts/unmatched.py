"""The images of a collection that are in no pair yet, from which the layouts take pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import product
from typing import NamedTuple

from cluster.collections import names as naming
from cluster.collections.layouts.colour_labels import colour_label_folders
from cluster.collections.layouts.ignored import COLOUR_LABELS, OTHER_FORMATS, Ignored
from cluster.collections.layouts.words import Modality


class Pair(NamedTuple):
    """The infrared and the visible image of one scene."""

    pair_id: str
    """The infrared key without extension and modality; unique within a collection."""
    ir_key: str
    """Path of the infrared file relative to the collection."""
    vis_key: str
    """Path of the visible file; the same as `ir_key` for a four-channel file."""
    subset: str
    """Split, scene or sequence, derived from the folders; "" if there is none."""


class Candidate(NamedTuple):
    """An image under one interpretation of its name."""

    folder: str
    stem: str
    pair_id: str
    subset: str


class Surroundings(NamedTuple):
    """What the keys of a part of a collection do not tell about the whole of it."""

    coloured: Set[str]
    """Folders of coloured label maps."""
    has_two_prefixed: Callable[[str], bool]
    """Whether a folder has one infrared and one visible image that are named by a prefix."""


Side = defaultdict[str, list[Candidate]]
"""Candidates of one modality by the key that both images of a pair share."""


def new_sides() -> dict[Modality, Side]:
    """Return an empty side per modality."""
    return {"ir": defaultdict(list), "vis": defaultdict(list)}


class Unmatched:
    """The images that are not matched yet, and the pairs that were taken from them.

    Args:
        keys: Paths relative to the collection.
        read_head: Returns the first bytes of a file, if files may be read.
        by_name: Whether the user selected a layout by its name.
        surroundings: What the keys do not tell if they are a part of a collection.
    """

    def __init__(
        self,
        keys: Iterable[str],
        *,
        read_head: Callable[[str], bytes] | None = None,
        by_name: bool = False,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.read_head, self.by_name, self.surroundings = read_head, by_name, surroundings
        self.folders: dict[str, dict[str, tuple[str, ...]]] = {}
        """Folder ("" or ending in `/`) -> stem -> extensions as spelt."""
        self.pairs: list[Pair] = []
        self.ignored = Ignored()
        # Sorted, so that the result does not depend on the order of a listing.
        self._sort_in(sorted(set(keys)))
        coloured = (
            colour_label_folders(list(self.folders))
            if surroundings is None
            else surroundings.coloured & self.folders.keys()
        )
        for folder in sorted(coloured):
            for stem, formats in self.folders.pop(folder).items():
                self._ignore(naming.LABELS, folder, stem, formats, COLOUR_LABELS)

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
                self.ignored.add(reason, key)
                continue
            stem, _, extension = name.rpartition(".")
            stems = self.folders.setdefault(folder, {})
            formats = lone.setdefault(extension, (extension,))
            stems[stem] = stems[stem] + formats if stem in stems else formats

    def pair_up(self, sides: Mapping[Modality, Side]) -> None:
        """Take pairs of candidates with equal keys, as far as they are not matched yet."""
        for key, ones in sides["ir"].items():
            if key in sides["vis"]:
                for ir, vis in _partners(self._free(ones), self._free(sides["vis"][key])):
                    self._take(ir, vis)

    def _free(self, ones: list[Candidate]) -> list[Candidate]:
        return [one for one in ones if one.stem in self.folders[one.folder]]

    def _take(self, ir: Candidate, vis: Candidate) -> None:
        ir_formats = self.folders[ir.folder].pop(ir.stem)
        vis_formats = self.folders[vis.folder].pop(vis.stem)
        ir_format, vis_format = _best_formats(ir_formats, vis_formats)
        self._ignore_others(ir.folder, ir.stem, ir_formats, ir_format)
        self._ignore_others(vis.folder, vis.stem, vis_formats, vis_format)
        ir_key = f"{ir.folder}{ir.stem}.{ir_format}"
        vis_key = f"{vis.folder}{vis.stem}.{vis_format}"
        self.pairs.append(Pair(ir.pair_id, ir_key, vis_key, ir.subset))

    def take_whole(self, folder: str, stem: str, extension: str) -> None:
        """Take one file as a pair, whose infrared and visible images are its channels."""
        formats = self.folders[folder].pop(stem)
        self._ignore_others(folder, stem, formats, extension)
        key = f"{folder}{stem}.{extension}"
        subset = naming.folder_subset(naming.folder_parts(folder))
        self.pairs.append(Pair(folder + stem, key, key, subset))

    def _ignore_others(self, folder: str, stem: str, formats: tuple[str, ...], chosen: str) -> None:
        if len(formats) > 1:
            others = tuple(extension for extension in formats if extension != chosen)
            self._ignore(naming.OTHER_FORMAT, folder, stem, others, OTHER_FORMATS)

    def _ignore(
        self, reason: str, folder: str, stem: str, formats: tuple[str, ...], stage: int
    ) -> None:
        self.ignored.add(reason, f"{folder}{stem}.{formats[0]}", len(formats), stage)

    def keys(self) -> Iterator[str]:
        """Yield the paths of the images that are in no pair."""
        for folder, stems in self.folders.items():
            for stem, formats in stems.items():
                yield from (f"{folder}{stem}.{extension}" for extension in formats)


def _partners(irs: list[Candidate], vis: list[Candidate]) -> Iterator[tuple[Candidate, Candidate]]:
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
