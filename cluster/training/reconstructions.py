"""The table of a reconstruction job, which is saved while it grows and completed after a kill."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from cluster.storage import SettingsRecord, Store, require_same_settings
from fusion_core.errors import NotFoundError, StorageError
from fusion_core.metrics import RECONSTRUCTION_METRICS

Row = dict[str, Any]

_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("method", pa.string()),
        ("weights", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        *((name, pa.float64()) for name in RECONSTRUCTION_METRICS),
    ]
)
_SETTINGS = b"irfuse.settings"
_PARTIAL = ".partial"
"""What the name of an unfinished table has in addition."""
_SAVE_INTERVAL_S = 5.0
_LARGEST_SHARE = 0.05
"""Share of the time that saving may take, as the whole table is written each time."""


class ReconstructionRecord(SettingsRecord):
    """The settings of a reconstruction job, which the table carries as metadata."""

    key: ClassVar[str] = ""  # it is no object of its own
    noun: ClassVar[str] = "reconstruction"

    method: str
    """Method whose autoencoder is measured."""
    weights_sha256: str
    """SHA-256 of the weights, or `random:SEED`."""
    parameters: dict[str, Any]
    """All parameters of the method."""
    images: str
    """Folder of the images."""
    max_pixels: int
    """Largest accepted image."""
    irfuse_version: str
    """Version of irfuse."""
    torch_version: str
    """Version of PyTorch."""


class ReconstructionTable:
    """The rows of a job by the names of the images, kept in a Parquet object while it grows.

    Rows of an earlier call with the same settings are kept, and those of failed images are computed
    again. As a context manager it saves the rows when the job ends early.

    Args:
        store: Store of the table.
        key: Key of the table; the unfinished one is next to it and ends in `.partial`.
        record: Settings of the job.

    Raises:
        RunConflictError: There is a table with other settings.
        StorageError: There is another object, or the location cannot be read.
    """

    def __init__(self, store: Store, key: str, record: ReconstructionRecord) -> None:
        self._store, self._key, self._record = store, key, record
        self._published = self._read(key)
        self._rows = {**self._published, **self._read(key + _PARTIAL)}
        self._changed = False
        self._next_save = time.monotonic() + _SAVE_INTERVAL_S

    def missing(self, images: Sequence[str]) -> list[str]:
        """Return the images that have no row, or that of a failure."""
        return [name for name in images if self._rows.get(name, {}).get("status") != "ok"]

    def add(self, row: Row) -> None:
        """Add the row of an image, and save the table if that is due."""
        self._rows[row["image"]] = {name: row.get(name) for name in _SCHEMA.names}
        self._changed = True
        if time.monotonic() >= self._next_save:
            self._save()

    def publish(self, images: Sequence[str]) -> list[Row]:
        """Write the finished table, with one row for each image in their order.

        Returns:
            The rows.

        Raises:
            StorageError: The table cannot be written.
        """
        rows = [self._rows[name] for name in images]
        if rows != list(self._published.values()):
            self._store.write(self._key, self._encode(rows))
        self._store.delete(self._key + _PARTIAL)
        self._changed = False
        return rows

    def __enter__(self) -> Self:
        """Return the table."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Save rows that are not saved."""
        if self._changed:
            self._save()

    def _save(self) -> None:
        started = time.monotonic()
        self._store.write(self._key + _PARTIAL, self._encode(list(self._rows.values())))
        self._changed = False
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_INTERVAL_S, (ended - started) / _LARGEST_SHARE)

    def _encode(self, rows: Sequence[Row]) -> bytes:
        schema = _SCHEMA.with_metadata({_SETTINGS: self._record.model_dump_json().encode()})
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, sink, write_page_checksum=True)
        return bytes(sink.getvalue())

    def _read(self, key: str) -> dict[str, Row]:
        try:
            data = self._store.read(key)
        except NotFoundError:
            return {}
        uri = self._store.uri(key)
        try:
            table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
            settings: Mapping[bytes, bytes] = table.schema.metadata or {}
            found = ReconstructionRecord.model_validate_json(settings.get(_SETTINGS, b""))
        except (pa.ArrowException, OSError, UnicodeDecodeError, ValidationError):
            raise StorageError(
                f"{uri} exists and is no table of `irfuse reconstruct` of this version; delete it "
                "or use another --output"
            ) from None
        require_same_settings(found, self._record, place=uri, option="--output")
        return {row["image"]: row for row in table.to_pylist()}
