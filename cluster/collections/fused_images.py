"""Existing fused and reference images and further sources, matched to pairs by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from cluster.collections.frozen_manifest import FURTHER_COLUMNS, FUSED_COLUMN, REFERENCE_COLUMN
from cluster.collections.image_matches import ImageMatcher, Match, NamedPair
from cluster.collections.listing import FileStream
from cluster.collections.names import has_image_extension
from cluster.collections.spool import RECORDS_AT_ONCE, Rows
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


class FusedImages:
    """A folder of images that belong to pairs, matched to them by their names.

    An image in several formats is one image, whose format is chosen as for the sources. An image
    that has the path of a pair's id belongs to that pair alone. Neither images nor pairs need be in
    memory.

    Args:
        store: The folder.
        kind: What the images are: `fused`, `reference`, or the name of a further source.
        at_once: Number of images and pairs that are in memory together.

    Raises:
        ManifestError: The folder contains no images.
        StorageError: The folder cannot be listed.
    """

    def __init__(
        self, store: Store, kind: str = "fused", *, at_once: int = RECORDS_AT_ONCE
    ) -> None:
        self._store = store
        self._column = _COLUMNS[kind]
        keys = (key for key, _ in FileStream(store) if has_image_extension(key))
        self._matcher = ImageMatcher(store.url, kind, keys, _PREFIXES.get(kind, ()), at_once)
        if not len(self._matcher):
            raise ManifestError(f"{store.url} contains no images; check the path or URL")

    def added_to(self, read: Callable[[], Batches], *, keep: bool = False) -> Callable[[], Batches]:
        """Return a function that adds the column of the images, which are matched once.

        The column is empty for pairs without a match.

        Args:
            read: Returns the same batches from the beginning whenever it is called.
            keep: Whether pairs that have an image already keep it.

        Raises:
            ManifestError: When batches are read: two images could belong to a pair, or an image to
                two pairs, or the batches are not the same.
        """
        matched: list[Rows[Match]] = []

        def read_all() -> Batches:
            if not matched:
                matched.append(self._matcher.match(self._pairs(read(), keep)))
            return self._add(read(), matched[0], keep)

        return read_all

    def _pairs(self, batches: Batches, keep: bool) -> Iterator[NamedPair]:
        first = 0
        for batch in batches:
            columns = [batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri")]
            kept = (uri.removeprefix(f"{self._store.url}/") for uri in self._kept(batch, keep))
            yield from map(NamedPair.of, range(first, first + batch.num_rows), *columns, kept)
            first += batch.num_rows

    def _kept(self, batch: pa.RecordBatch, keep: bool) -> list[str]:
        """Return the images that pairs have and keep."""
        if keep and self._column in batch.schema.names:
            uris: list[str] = batch.column(self._column).to_pylist()
            return uris
        return [""] * batch.num_rows

    def _add(self, batches: Batches, matches: Rows[Match], keep: bool) -> Batches:
        first, coming = 0, iter(matches)
        match = next(coming, None)
        for batch in batches:
            ids, images = batch.column("pair_id").to_pylist(), self._kept(batch, keep)
            while match is not None and match.row < first + batch.num_rows:
                if ids[match.row - first] != match.pair_id:
                    raise self._changed()
                images[match.row - first] = self._store.uri(match.key)
                match = next(coming, None)
            first += batch.num_rows
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict(
                {**columns, self._column: pa.array(images, pa.string())}
            )
        if match is not None:
            raise self._changed()

    def _changed(self) -> ManifestError:
        return ManifestError(
            f"The pairs were changed while the images of {self._store.url} were looked for; run "
            "the command again"
        )
