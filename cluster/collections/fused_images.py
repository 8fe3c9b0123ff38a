"""Existing fused and reference images and further sources, matched to pairs by their names."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import pyarrow as pa

from cluster.collections.frozen_manifest import FURTHER_COLUMNS, FUSED_COLUMN, REFERENCE_COLUMN
from cluster.collections.listing import list_files
from cluster.collections.names import FORMAT_RANK, has_image_extension, is_image
from cluster.storage import Store
from fusion_core.choices import FURTHER_SOURCES
from fusion_core.errors import ManifestError

Batches = Iterator[pa.RecordBatch]

_PREFIXES = {
    "fused": ("fused", "fused_", "fusion_", "f"),
    "reference": ("reference", "reference_", "gt", "gt_"),
}
_COLUMNS = {
    "fused": FUSED_COLUMN,
    "reference": REFERENCE_COLUMN,
    **dict(zip(FURTHER_SOURCES, FURTHER_COLUMNS, strict=True)),
}


def require_fused(read: Callable[[], Batches]) -> Batches:
    """Yield the batches unchanged, provided that they have the column of fused images.

    Raises:
        ManifestError: The column is missing.
    """
    for batch in read():
        if FUSED_COLUMN not in batch.schema.names:
            raise ManifestError(
                "The locations of the fused images are missing: pass their folder with --fused, "
                f"or a manifest with the column {FUSED_COLUMN}"
            )
        yield batch


class _Pair(NamedTuple):
    pair_id: str
    ir_uri: str
    vis_uri: str
    image_uri: str = ""
    """The image that it has already."""

    def stems(self, prefixes: Sequence[str]) -> list[str]:
        """Return the names that its image may have in any folder, the most likely one first."""
        name = posixpath.basename(self.pair_id)
        sources = [_without_extension(posixpath.basename(u)) for u in (self.ir_uri, self.vis_uri)]
        return [name, *sources, *(f"{prefix}{name}" for prefix in prefixes)]


class FusedImages:
    """A folder of images that belong to pairs, matched to them by their names.

    An image in several formats is one image, whose format is chosen as for the sources. An image
    that has the path of a pair's id belongs to that pair alone.

    Args:
        store: The folder.
        kind: What the images are: `fused`, `reference`, or the name of a further source.

    Raises:
        ManifestError: The folder contains no images.
        StorageError: The folder cannot be listed.
    """

    def __init__(self, store: Store, kind: str = "fused") -> None:
        self._store = store
        self._kind = kind
        self._column = _COLUMNS[kind]
        keys = [entry.key for entry in list_files(store).entries if has_image_extension(entry.key)]
        if not keys:
            raise ManifestError(f"{store.url} contains no images; check the path or URL")
        self._formats: defaultdict[str, list[str]] = defaultdict(list)
        """Keys by their case-folded path without extension."""
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        """Case-folded paths by the name in any folder."""
        for key in keys:
            path = _without_extension(key).casefold()
            if path not in self._formats and is_image(key):
                self._paths[posixpath.basename(path)].append(path)
            self._formats[path].append(key)

    def add_to(self, read: Callable[[], Batches], *, keep: bool = False) -> Batches:
        """Add the column of the images; it is empty for pairs without a match.

        Args:
            read: Returns the batches from the beginning, which are read twice.
            keep: Whether pairs that have an image already keep it.

        Raises:
            ManifestError: Two images could belong to a pair, or an image to two pairs.
        """
        taken = {
            path
            for batch in read()
            for pair in self._pairs(batch, keep)
            for path in self._own(pair)
        }
        owners: dict[str, _Pair] = {}
        for batch in read():
            images = [
                pair.image_uri or self._find(pair, taken, owners)
                for pair in self._pairs(batch, keep)
            ]
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict(
                {**columns, self._column: pa.array(images, pa.string())}
            )

    def _pairs(self, batch: pa.RecordBatch, keep: bool) -> Iterator[_Pair]:
        names = ["pair_id", "ir_uri", "vis_uri"]
        if keep and self._column in batch.schema.names:
            names.append(self._column)
        yield from map(_Pair, *(batch.column(name).to_pylist() for name in names))

    def _own(self, pair: _Pair) -> Iterator[str]:
        """Yield the path of the image that belongs to a pair whatever the other pairs are."""
        key = pair.image_uri.removeprefix(f"{self._store.url}/")
        path = (_without_extension(key) or pair.pair_id).casefold()
        if path in self._formats:
            yield path

    def _find(self, pair: _Pair, taken: set[str], owners: dict[str, _Pair]) -> str:
        """Return the location of a pair's image, or an empty text."""
        path = pair.pair_id.casefold()
        if path in self._formats:
            key = self._best_format(pair, path, pair.pair_id)
        else:
            for stem in pair.stems(_PREFIXES.get(self._kind, ())):
                paths = [p for p in self._paths.get(stem.casefold(), ()) if p not in taken]
                if paths:
                    break
            else:
                return ""
            if len(paths) > 1:
                self._refuse(pair, *(self._formats[path][0] for path in paths[:2]))
            key = self._best_format(pair, paths[0], stem)
        owner = owners.setdefault(key, pair)
        if owner[1:3] != pair[1:3]:
            raise ManifestError(
                f"{self._store.uri(key)} could be the {self._kind} image of the pairs "
                f"{owner.pair_id!r} and {pair.pair_id!r}; name the images by their pair_id"
            )
        return self._store.uri(key)

    def _best_format(self, pair: _Pair, path: str, spelling: str) -> str:
        def rank(key: str) -> tuple[bool, int]:
            stem, extension = posixpath.splitext(key)
            return not stem.endswith(spelling), FORMAT_RANK[extension[1:].lower()]

        first, *others = sorted(self._formats[path], key=rank)
        if others and rank(others[0]) == rank(first):
            self._refuse(pair, first, others[0])
        return first

    def _refuse(self, pair: _Pair, first: str, second: str) -> NoReturn:
        raise ManifestError(
            f"The pair {pair.pair_id!r} has two {self._kind} images in {self._store.url}: {first} "
            f"and {second}; remove one of them, or name the right one by the pair_id"
        )


def _without_extension(path: str) -> str:
    return posixpath.splitext(path)[0]
