"""The scores of a run's `ok` rows, in files, so that only one column needs to be in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import StorageError

_BYTES = 8
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """The values of one metric in consecutive rows; slices are read from the file."""

    _file: BufferedRandom
    _start: int
    _stop: int

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice, /) -> NDArray[np.float64]:
        first, end, _ = part.indices(len(self))
        self._file.seek((self._start + first) * _BYTES)
        values = np.empty(end - first)
        self._file.readinto(values.data)
        return values


@contextmanager
def _room_needed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot store the scores for the summary in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; free some space, or set TMPDIR to another folder"
        ) from error


class ScoreTable:
    """Rows with one value per metric, in temporary files; a context manager.

    Raises:
        StorageError: There is not enough space for the files.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._open = ExitStack()
        self._files = {metric: self._new_file() for metric in metrics}
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

    def _new_file(self) -> BufferedRandom:
        return self._open.enter_context(tempfile.TemporaryFile())

    def append(self, rows: int, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Append rows, with one column per metric."""
        self._rows += rows
        with _room_needed():
            for metric, file in self._files.items():
                file.write(np.ascontiguousarray(values[metric], dtype=np.float64).data)

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Move row `order[i]` to position `i`."""
        for metric, file in self._files.items():
            with _room_needed():
                values = self.columns()[metric][:]
                file.seek(0)
                for first in range(0, self._rows, _ROWS_AT_ONCE):
                    file.write(values[order[first : first + _ROWS_AT_ONCE]].data)

    def columns(self, start: int = 0, stop: int | None = None) -> dict[str, StoredColumn]:
        """Return the rows from `start` up to but excluding `stop`, one column per metric."""
        end = self._rows if stop is None else stop
        return {metric: StoredColumn(file, start, end) for metric, file in self._files.items()}
