"""The scores of a run's good rows, in files: a million rows need the memory of one column."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

_BYTES = 8


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One metric over consecutive rows; read anew whenever a slice is asked for."""

    _file: IO[bytes]
    _start: int
    _stop: int

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice, /) -> NDArray[np.float64]:
        first, end, _ = part.indices(len(self))
        self._file.seek((self._start + first) * _BYTES)
        return np.frombuffer(self._file.read((end - first) * _BYTES), dtype=np.float64)


class ScoreTable:
    """Rows with one value a metric, kept in temporary files; a context manager."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._open = ExitStack()
        self._files = {
            metric: self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            for metric in metrics
        }
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: int, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Add rows: a column for each metric."""
        self._rows += rows
        for metric, file in self._files.items():
            file.write(np.ascontiguousarray(values[metric], dtype=np.float64).tobytes())

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Put the row `order[i]` into place `i`."""
        for metric, file in self._files.items():
            values = self.columns()[metric][:]
            file.seek(0)
            file.write(values[order].tobytes())

    def columns(self, start: int = 0, stop: int | None = None) -> dict[str, StoredColumn]:
        """Return the rows from `start` to before `stop`, a column a metric."""
        end = self._rows if stop is None else stop
        return {metric: StoredColumn(file, start, end) for metric, file in self._files.items()}
