"""Random access to the frozen manifest of a run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections.frozen_manifest import (
    DIGEST_KEY,
    FUSED_COLUMN,
    MANIFEST_KEY,
    ROW_GROUP_ROWS,
    TEXT_COLUMNS,
    ManifestDigest,
)
from cluster.storage import Store
from fusion_core.errors import NotFoundError, StorageError

LATE_MATCHES_KEY = "fused.parquet"


@dataclass(frozen=True, slots=True)
class PairRow:
    """One row of the manifest, with the columns that a worker needs."""

    pair_id: str
    ir_uri: str
    vis_uri: str
    subset: str
    fused_uri: str = ""
    reference_uri: str = ""


class FrozenManifest:
    """Random access to the frozen manifest of a run, with one row group in memory.

    Fused images that were matched later complete the rows that had none.

    Raises:
        StorageError: The manifest cannot be read, or the later matches are of another manifest.
    """

    def __init__(self, out: Store) -> None:
        self._uri = out.uri(MANIFEST_KEY)
        try:
            self._file = pq.ParquetFile(out.open(MANIFEST_KEY))
        except pa.ArrowException as error:
            raise StorageError(
                f"{self._uri} is damaged ({str(error).splitlines()[0]}); restore it, or use "
                "another --out"
            ) from None
        metadata = self._file.schema_arrow.metadata or self._file.metadata.metadata or {}
        self.rows: int = self._file.metadata.num_rows
        file_metadata = self._file.metadata.metadata or {}
        self.digest = (file_metadata.get(DIGEST_KEY) or metadata.get(DIGEST_KEY, b"")).decode()
        self._columns = [c for c in TEXT_COLUMNS if c in self._file.schema_arrow.names]
        self._cached: tuple[int, pa.Table] | None = None
        self._lock = threading.Lock()
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
        self._late = pq.ParquetFile(file)
        digest = (self._late.schema_arrow.metadata or {}).get(DIGEST_KEY, b"").decode()
        if (digest, self._late.metadata.num_rows) != (self.digest, self.rows):
            raise StorageError(
                f"{out.uri(LATE_MATCHES_KEY)} belongs to another manifest; delete it and run the "
                "command again with --retry-failed"
            )

    def read(self, start: int, stop: int) -> list[PairRow]:
        """Return the rows from `start` up to but excluding `stop`."""
        rows: list[PairRow] = []
        for group in range(start // ROW_GROUP_ROWS, (stop - 1) // ROW_GROUP_ROWS + 1):
            first = group * ROW_GROUP_ROWS
            table = self._row_group(group)
            part = table.slice(max(0, start - first), stop - max(start, first))
            rows += [PairRow(**values) for values in part.to_pylist()]
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
                f"{self._uri} is damaged: its rows are not those that the run began with; restore "
                "it, or use another --out"
            )

    def subset_sizes(self) -> dict[str, int]:
        """Return the number of pairs of each subset, in order of appearance."""
        sizes: Counter[str] = Counter()
        for batch in self._file.iter_batches(columns=["subset"], use_threads=False):
            for entry in batch.column("subset").value_counts().to_pylist():
                sizes[entry["values"]] += entry["counts"]
        return dict(sizes)

    def _row_group(self, group: int) -> pa.Table:
        with self._lock:
            if self._cached is None or self._cached[0] != group:
                table = self._file.read_row_group(group, columns=self._columns)
                if self._late is not None:
                    late = self._late.read_row_group(group, columns=[FUSED_COLUMN])
                    index = table.schema.get_field_index(FUSED_COLUMN)
                    table = table.set_column(index, FUSED_COLUMN, late.column(FUSED_COLUMN))
                self._cached = (group, table)
            return self._cached[1]
