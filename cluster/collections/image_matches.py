"""The images of pairs in a folder, found by their names, with few of either in memory.

Images and pairs are divided by paths, so that a pair and the image with the path of its id are in
one part. The others are divided by names, so that all images of a name are in one part with the
pairs that could have them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import attrgetter
from typing import NamedTuple, TypeVar

from cluster.collections.hashes import HashedTexts
from cluster.collections.names import FORMAT_RANK, is_image
from cluster.collections.spool import BUCKETS, RECORDS_AT_ONCE, Parts, Rows, bucket_of
from fusion_core.errors import ManifestError

T = TypeVar("T")

_BY_ID = -1
"""The turn of the image that has the path of a pair's id, which comes before all names."""
_PAIRS_AT_ONCE = 4096
"""Number of pairs whose names are compared together."""


class NamedPair(NamedTuple):
    """What the image of a pair is found by."""

    row: int
    pair_id: str
    path: str
    """Path of the image that is its own whatever the other pairs are, without letter case."""
    keeps: bool
    """Whether it keeps the image that it has."""
    ir_stem: str
    vis_stem: str
    sources: int
    """Hash of the locations of its sources."""

    @classmethod
    def of(cls, row: int, pair_id: str, ir_uri: str, vis_uri: str, kept_key: str = "") -> NamedPair:
        """Return a pair from its row in the manifest.

        Args:
            row: Number of the row.
            pair_id: Its id.
            ir_uri: Location of its infrared image.
            vis_uri: Location of its visible image.
            kept_key: Path of the image that it keeps.
        """
        ir_stem, vis_stem = (_without_extension(_name_of(uri)) for uri in (ir_uri, vis_uri))
        path = _path_of(kept_key) or pair_id.casefold()
        sources = hash((ir_uri, vis_uri))
        return cls(row, pair_id, path, bool(kept_key), ir_stem, vis_stem, sources)

    def names(self, prefixes: Sequence[str]) -> list[str]:
        """Return the names that its image may have in any folder, the most likely one first.

        Args:
            prefixes: Words that may stand before the name of the pair.
        """
        name = _name_of(self.pair_id)
        return [name, self.ir_stem, self.vis_stem, *(prefix + name for prefix in prefixes)]


class Match(NamedTuple):
    """A pair and its image."""

    row: int
    pair_id: str
    sources: int
    """Hash of the locations of its sources."""
    key: str


class _Image(NamedTuple):
    """An image that is not the own image of a pair."""

    keys: tuple[str, ...]
    """Its formats, in order."""
    name: str
    """Its name without letter case."""


class _Wanted(NamedTuple):
    """A name that the image of a pair may have."""

    name: str
    spelling: str
    """The name with letter case."""
    turn: int
    row: int
    pair_id: str
    sources: int


class _Choice(NamedTuple):
    """What one of its names finds for a pair."""

    row: int
    turn: int
    pair_id: str
    sources: int
    key: str
    problem: str
    """Why the image cannot be chosen; empty if it can."""


class ImageMatcher:
    """Finds the images of pairs in a folder.

    Args:
        url: Location of the folder.
        kind: What the images are, as errors call them.
        keys: Paths of the images, in any order.
        prefixes: Words that may stand before the name of a pair in that of its image.
        at_once: Number of images and pairs that are in memory together.
    """

    def __init__(
        self,
        url: str,
        kind: str,
        keys: Iterable[str],
        prefixes: Sequence[str] = (),
        at_once: int = RECORDS_AT_ONCE,
    ) -> None:
        self._url, self._kind, self._prefixes, self._at_once = url, kind, prefixes, at_once
        self._keys = Parts[str](lambda key: bucket_of(_path_of(key)), at_once)
        for key in keys:
            self._keys.add(key)

    def __len__(self) -> int:
        return len(self._keys)

    def match(self, pairs: Iterable[NamedPair]) -> Rows[Match]:
        """Return the image of each pair that has one and does not keep another.

        Args:
            pairs: The pairs, whose rows are numbered from 0.

        Raises:
            ManifestError: Two images could belong to a pair, or an image to two pairs. The error
                is that of the first such pair.
        """
        by_path = self._divide(lambda pair: bucket_of(pair.path), NamedPair, pairs)
        rows = len(by_path)
        choices = self._divide(lambda choice: choice.row * BUCKETS // rows, _Choice)
        images = self._divide(lambda image: bucket_of(image.name), _Image)
        others = self._divide(lambda pair: pair.row * BUCKETS // rows, NamedPair)
        for keys, part in self._keys.beside(by_path):
            self._match_paths(keys, part, choices, images, others)
        del by_path
        self._match_names(images, others, choices)
        problems: list[tuple[int, str]] = []
        matches = Rows(_first_choices(choices, problems), lambda values: Match(*values))
        problems += self._shared_images(matches)
        if problems:
            raise ManifestError(min(problems)[1])
        return matches

    def _divide(
        self, bucket: Callable[[T], int], make: Callable[..., T], records: Iterable[T] = ()
    ) -> Parts[T]:
        parts = Parts(bucket, self._at_once, make)
        for record in records:
            parts.add(record)
        return parts

    def _match_paths(
        self,
        keys: Iterable[str],
        pairs: Iterable[NamedPair],
        choices: Parts[_Choice],
        images: Parts[_Image],
        others: Parts[NamedPair],
    ) -> None:
        """Match pairs with the images that have the path of their id, and hand on all others."""
        formats = defaultdict[str, list[str]](list)
        for key in sorted(set(keys)):
            formats[_path_of(key)].append(key)
        taken = set()
        for pair in pairs:
            if pair.path in formats:
                taken.add(pair.path)
                if not pair.keeps:
                    wanted = _Wanted("", pair.pair_id, _BY_ID, pair.row, pair.pair_id, pair.sources)
                    choices.add(self._choose(wanted, [formats[pair.path]]))
            elif not pair.keeps:
                others.add(pair)
        for path, image in formats.items():
            if path not in taken and is_image(image[0]):
                images.add(_Image(tuple(image), _name_of(path)))

    def _match_names(
        self, images: Parts[_Image], pairs: Parts[NamedPair], choices: Parts[_Choice]
    ) -> None:
        """Match pairs with the images that have one of their names."""
        existing = HashedTexts(image.name for part in images for image in part)
        wanted = self._divide(lambda one: bucket_of(one.name), _Wanted)
        for part in pairs:
            for first in range(0, len(part), _PAIRS_AT_ONCE):
                for one in self._existing_names(part[first : first + _PAIRS_AT_ONCE], existing):
                    wanted.add(one)
        for some, asked in images.beside(wanted):
            named = defaultdict[str, list[tuple[str, ...]]](list)
            for image in sorted(some):
                named[image.name].append(image.keys)
            for one in asked:
                if one.name in named:
                    choices.add(self._choose(one, named[one.name]))

    def _existing_names(
        self, pairs: Sequence[NamedPair], existing: HashedTexts
    ) -> Iterator[_Wanted]:
        spellings = [
            (pair, turn, spelling)
            for pair in pairs
            for turn, spelling in enumerate(dict.fromkeys(pair.names(self._prefixes)))
        ]
        names = [spelling.casefold() for _, _, spelling in spellings]
        found = zip(spellings, names, strict=True)
        for (pair, turn, spelling), name in compress(found, existing.hold(names)):
            yield _Wanted(name, spelling, turn, pair.row, pair.pair_id, pair.sources)

    def _choose(self, wanted: _Wanted, images: Sequence[Sequence[str]]) -> _Choice:
        """Choose the only image, in its best format."""
        keys = [image[0] for image in images[:2]]
        if len(keys) == 1 and len(images[0]) > 1:
            keys = _best_formats(images[0], wanted.spelling)
        problem = ""
        if len(keys) > 1:
            problem = (
                f"The pair {wanted.pair_id!r} has two {self._kind} images in {self._url}: "
                f"{keys[0]} and {keys[1]}; remove one of them, or name the right one by the pair_id"
            )
        _, _, turn, row, pair_id, sources = wanted
        return _Choice(row, turn, pair_id, sources, keys[0], problem)

    def _shared_images(self, matches: Iterable[Match]) -> Iterator[tuple[int, str]]:
        """Yield the pairs that have the image of a pair of other sources, and the problem."""
        for part in self._divide(lambda match: bucket_of(match.key), Match, matches):
            owners: dict[str, Match] = {}
            for match in part:
                owner = owners.setdefault(match.key, match)
                if owner.sources != match.sources:
                    problem = (
                        f"{self._url}/{match.key} could be the {self._kind} image of the pairs "
                        f"{owner.pair_id!r} and {match.pair_id!r}; name the images by their pair_id"
                    )
                    yield match.row, problem


def _first_choices(choices: Parts[_Choice], problems: list[tuple[int, str]]) -> Iterator[Match]:
    """Yield the first choice of each pair, in order, until there is a problem."""
    for part in choices:
        part.sort(key=attrgetter("row", "turn"))
        for row, same in groupby(part, key=attrgetter("row")):
            choice = next(same)
            if choice.problem:
                problems.append((row, choice.problem))
                return
            yield Match(row, choice.pair_id, choice.sources, choice.key)


def _best_formats(image: Sequence[str], spelling: str) -> list[str]:
    """Return the keys of the best format, where those that end in a spelling are better."""

    def rank(key: str) -> tuple[bool, int]:
        stem = _without_extension(key)
        return not stem.endswith(spelling), FORMAT_RANK[key[len(stem) + 1 :].lower()]

    best = min(map(rank, image))
    return [key for key in image if rank(key) == best]


def _without_extension(path: str) -> str:
    """Return a path as `posixpath.splitext` does, in a third of the time."""
    stem, _, extension = path.rpartition(".")
    return stem if "/" not in extension and stem[stem.rfind("/") + 1 :].strip(".") else path


def _path_of(key: str) -> str:
    return _without_extension(key).casefold()


def _name_of(path: str) -> str:
    return path[path.rfind("/") + 1 :]
