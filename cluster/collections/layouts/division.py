"""Division of a large collection into parts whose pairs can be found one part after the other.

All layouts pair files in whose names and folders the same numbers occur, because no word for a
modality has a digit, except for those in `NUMBERED_WORDS`. So files with the same numbers, in any
order and number, form a part. The only exception is a folder with a single infrared and a single
visible image, marked by a prefix, whose other text may differ; the parts of these two are joined.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cluster.collections.hashes import changes
from cluster.collections.layouts.colour_labels import colour_label_folders, is_coloured
from cluster.collections.layouts.prefix import modality_by_prefix
from cluster.collections.layouts.unmatched import Surroundings
from cluster.collections.layouts.words import NUMBERED_WORDS
from cluster.collections.names import why_ignore_file, why_ignore_folder
from cluster.collections.spool import RECORDS_AT_ONCE, Parts, bucket_of

File = tuple[str, int]
"""Path of a file relative to the collection, and its size in bytes."""

_NUMBERS = re.compile(r"[0-9]+")


def numbers_in(key: str) -> str:
    """Return the different numbers in a path, without its extension.

    >>> numbers_in("set01/V000/lwir/I00001.jpg")
    '000 00001 01'
    >>> numbers_in("set01/V000/visible/I00001.jp2")
    '000 00001 01'
    """
    folder, _, name = key.rpartition("/")
    return " ".join(sorted({*_numbers_in_folder(folder), *_numbers(name.rpartition(".")[0])}))


def _numbers(text: str) -> list[str]:
    return _NUMBERS.findall(NUMBERED_WORDS.sub("", text))


@lru_cache(maxsize=4096)
def _numbers_in_folder(folder: str) -> list[str]:
    return _numbers(folder)


class DividedFiles:
    """The files of a collection, in parts if there are many.

    Args:
        files: The files, in any order.
        at_once: Number of files of a part.
    """

    def __init__(self, files: Iterable[File], at_once: int = RECORDS_AT_ONCE) -> None:
        self._prefixed = _PrefixedFiles()
        self._coloured: set[str] = set()
        self._files = Parts(self._bucket, at_once)
        for file in files:
            self._files.add(file)
        self._surroundings = self._survey() if self._files.divided else None

    @property
    def surroundings(self) -> Surroundings | None:
        """What a part does not tell about the whole; None for a single part."""
        return self._surroundings

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[list[File]]:
        """Yield the parts."""
        return self._files.parts(self._prefixed.joined if self._files.divided else ())

    def _bucket(self, file: File) -> int:
        key = file[0]
        bucket = bucket_of(numbers_in(key))
        cut = key.rfind("/") + 1
        folder, stem = key[:cut], key[cut:].rpartition(".")[0]
        modality = modality_by_prefix(stem)
        if modality is not None and _may_be_image(key):
            self._prefixed.add(folder, stem, bucket, infrared=modality == "ir")
        if _is_coloured(folder) and _may_be_image(key):
            self._coloured.add(folder)
        return bucket

    def _survey(self) -> Surroundings:
        self._prefixed.close()
        coloured = colour_label_folders(list(self._folders())) if self._coloured else set()
        return Surroundings(coloured, self._prefixed.has_two)

    def _folders(self) -> set[str]:
        """Return the folders of images."""
        keys = (key for part in self for key, _ in part)
        return {key[: key.rfind("/") + 1] for key in keys if _may_be_image(key)}


_is_coloured = lru_cache(maxsize=4096)(is_coloured)


def _may_be_image(key: str) -> bool:
    folder, slash, name = key.rpartition("/")
    return why_ignore_file(name) is None and why_ignore_folder(folder + slash) is None


class _PrefixedFiles:
    """The folders with one infrared and one visible image that are named by a prefix.

    Names are represented by their hashes, which are random: 18 bytes for each such file.
    """

    def __init__(self) -> None:
        self._folders, self._stems, self._places = array("q"), array("q"), array("H")
        self._two: NDArray[np.int64] = np.empty(0, np.int64)
        self.joined: set[tuple[int, int]] = set()
        """Buckets of the two images, where they differ."""

    def add(self, folder: str, stem: str, bucket: int, *, infrared: bool) -> None:
        """Add an image."""
        self._folders.append(hash(folder))
        self._stems.append(hash(stem))
        self._places.append(2 * bucket + infrared)

    def close(self) -> None:
        """Find the folders, after all images were added."""
        folders = np.frombuffer(self._folders, np.int64)
        stems = np.frombuffer(self._stems, np.int64)
        order = np.lexsort((stems, folders))
        folders, stems = folders[order], stems[order]
        places = np.frombuffer(self._places, np.uint16)[order]
        # An image in several formats is one image.
        distinct = changes(folders) | changes(stems)
        folders, places = folders[distinct], places[distinct]
        first = np.flatnonzero(changes(folders))
        first = first[np.diff(first, append=len(folders)) == 2]
        ones, others = places[first], places[first + 1]
        lonely = ones % 2 != others % 2
        self._two = folders[first[lonely]]
        buckets = zip((ones[lonely] // 2).tolist(), (others[lonely] // 2).tolist(), strict=True)
        self.joined = {pair for pair in buckets if pair[0] != pair[1]}
        self._folders, self._stems, self._places = array("q"), array("q"), array("H")

    def has_two(self, folder: str) -> bool:
        """Whether a folder is one of these."""
        place = np.searchsorted(self._two, hash(folder))
        return bool(place < len(self._two) and self._two[place] == hash(folder))


def heads_of_folders(
    first: dict[str, str], read_head: Callable[[str], bytes]
) -> Callable[[str], bytes]:
    """Return a function that reads the head of the first file in the folder of a file, once.

    Args:
        first: The first file of each folder.
        read_head: Returns the first bytes of a file.
    """
    heads: dict[str, bytes] = {}

    def read(key: str) -> bytes:
        folder = key[: key.rfind("/") + 1]
        if folder not in heads:
            heads[folder] = read_head(first[folder])
        return heads[folder]

    return read
