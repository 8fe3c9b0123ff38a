"""Conditions on the pairs of a manifest: expressions of SQL over its columns.

DuckDB parses and evaluates them. Files, extensions, other tables and Python's variables are out of
reach of an expression.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa

from fusion_core.errors import InvalidValueError
from fusion_core.suggestions import unknown_name

_ROW = "irfuse row number"
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1",
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
_KIND = re.compile(r"\A[A-Z][A-Za-z ]* Error: ")
_UNKNOWN_COLUMN = re.compile(r'Referenced column "(.*?)" not found')


class Condition:
    """An expression of SQL that is true for some rows, as after WHERE.

    Raises:
        InvalidValueError: The expression cannot be parsed.
    """

    def __init__(self, text: str) -> None:
        # Imported here because it takes half a second, and few jobs have a condition.
        import duckdb

        self._text, self._duckdb = text, duckdb
        if not text.strip():
            raise self._invalid("the condition is empty")
        self._connection = duckdb.connect(":memory:", config=_SETTINGS)
        self._connection.execute("SET lock_configuration = true")
        try:
            self._expression: Any = duckdb.SQLExpression(text)
        except duckdb.Error as error:
            raise self._invalid(str(error)) from None

    def select(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows for which the condition is true.

        Raises:
            InvalidValueError: A column does not exist, or values have another type.
        """
        numbers = pa.array(np.arange(batch.num_rows))
        table = pa.Table.from_batches([batch]).append_column(_ROW, numbers)
        try:
            found = self._connection.from_arrow(table).filter(self._expression)
            rows = found.select(self._duckdb.ColumnExpression(_ROW)).fetchnumpy()[_ROW]
        except self._duckdb.Error as error:
            raise self._explain(str(error), batch.schema.names) from None
        return batch.take(pa.array(np.sort(np.asarray(rows))))

    def _explain(self, message: str, columns: list[str]) -> InvalidValueError:
        unknown = _UNKNOWN_COLUMN.search(message)
        if unknown:
            reason = unknown_name("column", unknown[1], columns)
            if f'"{unknown[1]}"' in self._text:
                reason += "; text stands between single quotes"
            return self._invalid(reason)
        if "VARCHAR" in message and "INTEGER" in message:
            message = f"{_first_line(message)}; a CSV manifest has text: write COLUMN::int > 100"
        return self._invalid(message)

    def _invalid(self, message: str) -> InvalidValueError:
        return InvalidValueError(f"--where {self._text!r}: {_first_line(message)}")


def _first_line(message: str) -> str:
    return _KIND.sub("", message.strip().splitlines()[0])
