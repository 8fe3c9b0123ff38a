"""Tables as CSV and Parquet files."""

from __future__ import annotations

import io
from typing import Protocol

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from cluster.storage import Store


class TableOptions(Protocol):
    """Options with the files to write."""

    @property
    def csv_file(self) -> str | None:
        """CSV file, if one was asked for."""

    @property
    def parquet_file(self) -> str | None:
        """Parquet file, if one was asked for."""

    def file(self, url: str) -> tuple[Store, str]:
        """Return the store of an object's folder, and the object's key in it."""


def write_tables(table: pa.Table, options: TableOptions) -> None:
    """Write a table to the files that were asked for.

    Raises:
        StorageError: A file cannot be written.
    """
    for url, write in ((options.csv_file, csv.write_csv), (options.parquet_file, pq.write_table)):
        if url is not None:
            buffer = io.BytesIO()
            write(table, buffer)
            store, name = options.file(url)
            store.write(name, buffer.getvalue())
