"""Existing fused images, matched to pairs by their names."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

import pyarrow as pa

from cluster.collections.frozen_manifest import FUSED_COLUMN
from cluster.collections.names import FORMAT_RANK, has_image_extension, is_image
from cluster.storage import Store
from fusion_core.errors import ManifestError

Batches = Iterator[pa.RecordBatch]

_PREFIXES = ("fused", "fused_", "fusion_", "f")


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
    fused_uri: str = ""

    @property
    def stems(self) -> list[str]:
        """Names that its fused image may have in any folder, the most likely one first."""
        name = posixpath.basename(self.pair_id)
        sources = [_without_extension(posixpath.basename(u)) for u in (self.ir_uri, self.vis_uri)]
        return [name, *sources, *(f"{prefix}{name}" for prefix in _PREFIXES)]


class FusedImages:
    """A folder of existing fused images, matched to pairs by their names.

    An image in several formats is one image, whose format is chosen as for the sources. An image
    that has the path of a pair's id belongs to that pair alone.

    Raises:
        ManifestError: The folder contains no images.
        StorageError: The folder cannot be listed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        keys = [entry.key for entry in store.entries() if has_image_extension(entry.key)]
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
        """Add the column of fused images; it is empty for pairs without a match.

        Args:
            read: Returns the batches from the beginning, which are read twice.
            keep: Whether pairs that have a fused image already keep it.

        Raises:
            ManifestError: Two images could belong to a pair, or an image to two pairs.
        """
        taken = {
            path for batch in read() for pair in _pairs(batch, keep) for path in self._own(pair)
        }
        owners: dict[str, _Pair] = {}
        for batch in read():
            fused = [
                pair.fused_uri or self._find(pair, taken, owners) for pair in _pairs(batch, keep)
            ]
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict(
                {**columns, FUSED_COLUMN: pa.array(fused, pa.string())}
            )

    def _own(self, pair: _Pair) -> Iterator[str]:
        """Yield the path of the image that belongs to a pair whatever the other pairs are."""
        key = pair.fused_uri.removeprefix(f"{self._store.url}/")
        path = (_without_extension(key) or pair.pair_id).casefold()
        if path in self._formats:
            yield path

    def _find(self, pair: _Pair, taken: set[str], owners: dict[str, _Pair]) -> str:
        """Return the location of a pair's fused image, or an empty text."""
        path = pair.pair_id.casefold()
        if path in self._formats:
            key = self._best_format(pair, path, pair.pair_id)
        else:
            for stem in pair.stems:
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
                f"{self._store.uri(key)} could be the fused image of the pairs {owner.pair_id!r} "
                f"and {pair.pair_id!r}; name the fused images by their pair_id"
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
            f"The pair {pair.pair_id!r} has two fused images in {self._store.url}: {first} and "
            f"{second}; remove one of them, or name the right one by the pair_id"
        )


def _pairs(batch: pa.RecordBatch, keep: bool) -> Iterator[_Pair]:
    names = ["pair_id", "ir_uri", "vis_uri"]
    if keep and FUSED_COLUMN in batch.schema.names:
        names.append(FUSED_COLUMN)
    yield from map(_Pair, *(batch.column(name).to_pylist() for name in names))


def _without_extension(path: str) -> str:
    return posixpath.splitext(path)[0]
