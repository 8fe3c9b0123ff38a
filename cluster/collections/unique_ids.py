"""The check that no two rows of a manifest have the same `pair_id`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.storage import redact
from fusion_core.errors import ManifestError

_MOST_NAMED = 3
"""Number of repeated ids, and of rows of one id, that an error names."""


class UniqueIds:
    """Detects repeated ids with 8 bytes per row, and reads the manifest again to name them."""

    def __init__(self) -> None:
        self.count = 0
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, pair_ids: list[str]) -> None:
        """Add the ids of further rows.

        Raises:
            ManifestError: An id is empty.
        """
        if not all(pair_ids):
            row = self.count + pair_ids.index("") + 1
            raise ManifestError(f"Row {row} of the manifest has an empty pair_id")
        self.count += len(pair_ids)
        # Python's hash of strings has a random key, so collisions cannot be provoked.
        self._hashes.append(np.fromiter(map(hash, pair_ids), np.int64, len(pair_ids)))

    def check(self, manifest: pq.ParquetFile) -> None:
        """Check that no id is repeated.

        Args:
            manifest: The rows that were added, with `pair_id` and `ir_uri`.

        Raises:
            ManifestError: Ids are repeated; the message names the first ones with their rows.
        """
        hashes = np.concatenate(self._hashes)
        self._hashes.clear()
        hashes.sort()
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if suspects:
            repeated = [rows for rows in _rows_by_id(manifest, suspects) if len(rows[1]) > 1]
            if repeated:
                raise ManifestError(_describe(repeated))


_Rows = tuple[str, list[tuple[int, str]]]
"""An id, and the number and the infrared location of each of its rows."""


def _rows_by_id(manifest: pq.ParquetFile, suspects: set[int]) -> Iterator[_Rows]:
    found: dict[str, list[tuple[int, str]]] = {}
    row = 0
    for batch in manifest.iter_batches(columns=["pair_id", "ir_uri"], use_threads=False):
        for pair_id, ir_uri in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row += 1
            if hash(pair_id) in suspects:
                found.setdefault(pair_id, []).append((row, ir_uri))
    yield from found.items()


def _describe(repeated: list[_Rows]) -> str:
    parts = []
    for pair_id, rows in repeated[:_MOST_NAMED]:
        named = ", ".join(f"{row} ({redact(uri)})" for row, uri in rows[:_MOST_NAMED])
        more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
        parts.append(f"{pair_id!r} in rows {named}{more}")
    if len(repeated) > _MOST_NAMED:
        parts.append(f"{len(repeated) - _MOST_NAMED} further names")
    return (
        f"The pair_ids of the manifest must be unique, but some are repeated: {'; '.join(parts)}; "
        "give each row a pair_id of its own"
    )
