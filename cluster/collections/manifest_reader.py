"""Random access to the frozen manifest of a run."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections.frozen_manifest import (
    DIGEST_KEY,
    FURTHER_COLUMNS,
    FUSED_COLUMN,
    MANIFEST_KEY,
    ROW_GROUP_ROWS,
    TEXT_COLUMNS,
    ManifestDigest,
)
from cluster.storage import Store
from fusion_core.errors import NotFoundError, StorageError

LATE_MATCHES_KEY = "fused.parquet"
_RESTORE = (
    "delete it and run the same command as before, which writes it again, or use another --out"
)
_MATCH_AGAIN = "delete it and run the command again with --retry-failed"


@dataclass(frozen=True, slots=True)
class PairRow:
    """One row of the manifest, with the columns that a worker needs."""

    pair_id: str
    ir_uri: str
    vis_uri: str
    subset: str
    fused_uri: str = ""
    reference_uri: str = ""
    label_uri: str = ""
    further_uris: tuple[str, ...] = ()
    """Locations of the sources after the infrared and the visible image."""

    @property
    def sources(self) -> dict[str, str]:
        """The location of each source by its name: `infrared`, `visible`, `source_3` and so on."""
        further = (column.removesuffix("_uri") for column in FURTHER_COLUMNS)
        named = zip(further, self.further_uris, strict=False)
        found = {name: uri for name, uri in named if uri}
        return {"infrared": self.ir_uri, "visible": self.vis_uri, **found}


def _to_row(values: dict[str, str]) -> PairRow:
    further = tuple(values.pop(column) for column in FURTHER_COLUMNS if column in values)
    return PairRow(**values, further_uris=further)


def pairs_at(manifest: bytes, rows: Sequence[int]) -> list[PairRow]:
    """Return some rows of a frozen manifest, in their order.

    Args:
        manifest: The Parquet object.
        rows: Numbers of the rows.
    """
    table = pq.read_table(io.BytesIO(manifest))
    columns = [column for column in TEXT_COLUMNS if column in table.schema.names]
    return [_to_row(values) for values in table.select(columns).take(list(rows)).to_pylist()]


class FrozenManifest:
    """Random access to the frozen manifest of a run, with one row group in memory.

    Fused images that were matched later complete the rows that had none.

    Raises:
        NotFoundError: There is no manifest.
        StorageError: The manifest cannot be read, or the later matches are of another manifest.
    """

    def __init__(self, out: Store) -> None:
        self._uri = out.uri(MANIFEST_KEY)
        try:
            file = out.open(MANIFEST_KEY)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error}; it was removed after the run began, or the run was copied without it. "
                "Run the same command again"
            ) from None
        with _named_damage(self._uri, _RESTORE):
            self._file = _open(file)
        metadata = self._file.schema_arrow.metadata or self._file.metadata.metadata or {}
        self.rows: int = self._file.metadata.num_rows
        file_metadata = self._file.metadata.metadata or {}
        self.digest = (file_metadata.get(DIGEST_KEY) or metadata.get(DIGEST_KEY, b"")).decode()
        self._columns = [c for c in TEXT_COLUMNS if c in self._file.schema_arrow.names]
        self._cached: tuple[int, pa.Table] | None = None
        self._lock = threading.Lock()
        self._late_uri = out.uri(LATE_MATCHES_KEY)
        self._late: pq.ParquetFile | None = None
        self.late_version: str | None = None
        """Version of the object of later matches; None if there is none."""
        if FUSED_COLUMN in self._columns:
            self._open_late(out)

    def _open_late(self, out: Store) -> None:
        try:
            file, self.late_version = out.open_version(LATE_MATCHES_KEY)
        except NotFoundError:
            return
        with _named_damage(self._late_uri, _MATCH_AGAIN):
            self._late = _open(file)
        digest = (self._late.schema_arrow.metadata or {}).get(DIGEST_KEY, b"").decode()
        if (digest, self._late.metadata.num_rows) != (self.digest, self.rows):
            raise StorageError(f"{self._late_uri} belongs to another manifest; {_MATCH_AGAIN}")

    def read(self, start: int, stop: int) -> list[PairRow]:
        """Return the rows from `start` up to but excluding `stop`."""
        rows: list[PairRow] = []
        for group in range(start // ROW_GROUP_ROWS, (stop - 1) // ROW_GROUP_ROWS + 1):
            first = group * ROW_GROUP_ROWS
            table = self._row_group(group)
            part = table.slice(max(0, start - first), stop - max(start, first))
            rows += [_to_row(values) for values in part.to_pylist()]
        return rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows, one batch per row group, with the columns that a worker needs."""
        for group in range(self._file.num_row_groups):
            yield from self._row_group(group).combine_chunks().to_batches()

    def verify(self) -> None:
        """Compare the rows with their digest.

        Raises:
            StorageError: The manifest is damaged.
        """
        digest = ManifestDigest()
        try:
            for batch in self._file.iter_batches(use_threads=False):
                digest.add(batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            pass  # the digest of the rows that could be read differs
        if digest.hex() != self.digest:
            raise StorageError(
                f"{self._uri} is damaged: its rows are not those that the run began with; "
                f"{_RESTORE}"
            )

    def subset_sizes(self) -> dict[str, int]:
        """Return the number of pairs of each subset, in order of appearance."""
        sizes: Counter[str] = Counter()
        with _named_damage(self._uri, _RESTORE):
            for batch in self._file.iter_batches(columns=["subset"], use_threads=False):
                for entry in batch.column("subset").value_counts().to_pylist():
                    sizes[entry["values"]] += entry["counts"]
        return dict(sizes)

    def _row_group(self, group: int) -> pa.Table:
        with self._lock:
            if self._cached is None or self._cached[0] != group:
                with _named_damage(self._uri, _RESTORE):
                    table = self._file.read_row_group(group, columns=self._columns)
                if self._late is not None:
                    with _named_damage(self._late_uri, _MATCH_AGAIN):
                        late = self._late.read_row_group(group, columns=[FUSED_COLUMN])
                    index = table.schema.get_field_index(FUSED_COLUMN)
                    table = table.set_column(index, FUSED_COLUMN, late.column(FUSED_COLUMN))
                self._cached = (group, table)
            return self._cached[1]


def _open(file: BinaryIO) -> pq.ParquetFile:
    """Open a Parquet file whose pages are compared with their checksums.

    It is read without threads of Arrow: one that still holds the file when the process ends aborts
    the process.
    """
    return pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)


@contextmanager
def _named_damage(uri: str, remedy: str) -> Iterator[None]:
    """Raise an error that names a damaged Parquet file and the remedy."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{uri} is damaged ({str(error).splitlines()[0]}); {remedy}") from None
