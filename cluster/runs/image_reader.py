"""The fused images of a run by their positions: one image is read, not those around it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections import FrozenManifest
from cluster.runs.damage import Damage, DamagedShardError
from cluster.runs.index import ShardIndex
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.shard_file import open_shard
from cluster.storage import Reader, Store
from fusion_core.errors import StorageError

_OPEN_SHARDS = 256
_ROWS_KEPT = 256
"""Number of shards whose rows, without images, are kept in memory."""
_LENGTH_BYTES = 4
"""Bytes in front of each value that say how long it is, in Parquet's plain encoding."""
_COMPARED_FIRST = 64
"""Bytes of an image that are searched for."""

Place = tuple[int, int]
"""Where the bytes of an image begin in the object of its shard, and where they end."""


@dataclass(slots=True)
class _Open:
    """A shard that is open."""

    file: BinaryIO
    metadata: pq.FileMetaData
    lock: threading.Lock

    def reader(self) -> pq.ParquetFile:
        """Return what reads columns that lie side by side in one request, and is then dropped."""
        return open_shard(self.file, self.metadata)


class ImageReader:
    """Reads single fused images, and the rows that they belong to.

    When an image of a row group is read for the first time, the whole group is, and the places of
    its images are noted. From then on an image is read by itself, as from a file of its own.
    Several threads may use one reader.

    Args:
        out: Output location of the run.
        record: Record of the run.
        columns: Columns of the rows that are wanted.
        cache: Folder on local disk to which shards are copied before they are read.
    """

    def __init__(
        self, out: Store, record: RunRecord, columns: list[str], cache: str | None = None
    ) -> None:
        self._out, self._record, self._columns = out, record, columns
        self._cache = None if cache is None else Store(f"{cache}/{record.fingerprint[:16]}")
        self._files = Reader(out.storage_options, max_pixels=record.max_pixels)
        self._manifest: FrozenManifest | None = None
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._rows: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._places: dict[tuple[int, int], list[Place | None]] = {}

    def row(self, index: ShardIndex, offset: int) -> dict[str, Any]:
        """Return the wanted columns of a row.

        Raises:
            StorageError: The shard is damaged, was replaced, or cannot be read.
        """
        with self._lock:
            rows = self._rows.get(index.shard)
        if rows is None:
            rows = self._read(index, lambda opened: opened.reader().read(self._columns).to_pylist())
            with self._lock:
                self._rows[index.shard] = rows
                while len(self._rows) > _ROWS_KEPT:
                    self._rows.popitem(last=False)
        return dict(rows[offset])

    def image(self, index: ShardIndex, offset: int) -> bytes:
        """Return the fused image of a row as the bytes of its file.

        Raises:
            StorageError: The shard is damaged, was replaced, or cannot be read.
        """
        group, row = index.group_of(offset)
        with self._lock:
            places = self._places.get((index.shard, group))
        if places is None:
            return self._group(index, group, note=True)[row]
        place = places[row]
        if place is None:  # a file, or a value in an encoding that this module does not write
            return self.group(index, group)[row]
        return bytes(self._read(index, lambda opened: _read_at(opened, *place)))

    def group(self, index: ShardIndex, group: int) -> list[bytes]:
        """Return the fused images of a row group; empty for rows without one.

        Raises:
            StorageError: The shard is damaged, was replaced, or cannot be read.
        """
        return self._group(index, group, note=False)

    def _group(self, index: ShardIndex, group: int, *, note: bool) -> list[bytes]:
        """Return the fused images of a row group, and note where they lie if that is wanted."""

        def read(opened: _Open) -> list[dict[str, Any] | None]:
            table = opened.reader().read_row_group(group, columns=["fused"], use_threads=False)
            cells: list[dict[str, Any] | None] = table.column("fused").to_pylist()
            if note:
                places = _find_places(opened, group, cells)
                with self._lock:
                    self._places[index.shard, group] = places
            return cells

        cells = self._read(index, read)
        if not any((cell or {}).get("path") for cell in cells):
            return [(cell or {}).get("bytes") or b"" for cell in cells]
        first = self._record.plan.bounds(index.shard)[0] + sum(index.groups[:group])
        uris = self._located(first, first + len(cells))
        return [
            self._files.read(uri) if (cell or {}).get("path") else b""
            for cell, uri in zip(cells, uris, strict=True)
        ]

    def _located(self, first: int, end: int) -> list[str]:
        """Return the locations of fused files from the manifest; those in rows have no query."""
        with self._lock:
            if self._manifest is None:
                self._manifest = FrozenManifest(self._out)
            manifest = self._manifest
        return [pair.fused_uri for pair in manifest.read(first, end)]

    def _read(self, index: ShardIndex, action: Callable[[_Open], Any]) -> Any:  # noqa: ANN401
        opened = self._opened(index)
        try:
            with opened.lock:
                return action(opened)
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = f"it cannot be read ({str(error).splitlines()[0]})"
            damage = Damage(index.shard, reason, index.version)
            raise DamagedShardError(self._out.uri(shard_key(index.shard)), damage) from None

    def _opened(self, index: ShardIndex) -> _Open:
        with self._lock:
            if index.shard in self._open:
                self._open.move_to_end(index.shard)
                return self._open[index.shard]
        file = self._open_file(index)
        try:
            opened = _Open(file, open_shard(file).metadata, threading.Lock())
        except (pa.ArrowException, OSError) as error:
            reason = f"it cannot be read ({str(error).splitlines()[0]})"
            damage = Damage(index.shard, reason, index.version)
            raise DamagedShardError(self._out.uri(shard_key(index.shard)), damage) from None
        with self._lock:
            self._open[index.shard] = opened
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)  # closed when no thread reads it any more
        return opened

    def _open_file(self, index: ShardIndex) -> BinaryIO:
        key = shard_key(index.shard)
        if self._cache is not None:
            return self._open_copy(index, key)
        file, version = self._out.open_version(key)
        if version != index.version:
            file.close()
            raise StorageError(
                f"{self._out.uri(key)} has been replaced since the run was opened, because failed "
                "pairs were computed again; open it again"
            )
        return file

    def _open_copy(self, index: ShardIndex, key: str) -> BinaryIO:
        """Open the copy of a shard on local disk, and make it if there is none."""
        assert self._cache is not None
        mark = "".join(c for c in index.version if c.isalnum())
        copy = f"{Path(key).stem}-{mark}.parquet"
        if not self._cache.exists(copy):
            self._cache.write(copy, self._out.read(key))
        return self._cache.open(copy)


def _find_places(
    opened: _Open, group: int, cells: list[dict[str, Any] | None]
) -> list[Place | None]:
    """Return where the images of a row group lie: uncompressed, each after its length."""
    nowhere: list[Place | None] = [None] * len(cells)
    metadata = opened.metadata.row_group(group)
    paths = [metadata.column(n).path_in_schema for n in range(metadata.num_columns)]
    with suppress(ValueError):
        chunk = metadata.column(paths.index("fused.bytes"))
        if chunk.compression != "UNCOMPRESSED":
            return nowhere
        start = chunk.data_page_offset
        data = _read_at(opened, start, start + chunk.total_compressed_size)
        places, end = list[Place | None](), 0
        for cell in cells:
            image = (cell or {}).get("bytes")
            if not image:
                places.append(None)
                continue
            first = _find_value(data, image, end)
            end = first + len(image)
            places.append((start + first, start + end))
        return places
    return nowhere


def _find_value(data: bytes, value: bytes, start: int) -> int:
    """Return where a value begins in Parquet's plain encoding, at or after a position.

    Raises:
        ValueError: It is not there.
    """
    # Searching for all of a long value takes longer than comparing it where its beginning is.
    beginning = len(value).to_bytes(_LENGTH_BYTES, "little") + value[:_COMPARED_FIRST]
    view = memoryview(data)
    while True:
        first = data.index(beginning, start) + _LENGTH_BYTES
        if view[first : first + len(value)] == value:
            return first
        start = first


def _read_at(opened: _Open, start: int, end: int) -> bytes:
    with suppress(OSError, AttributeError):  # not a local file
        return os.pread(opened.file.fileno(), end - start, start)
    opened.file.seek(start)
    return opened.file.read(end - start)
