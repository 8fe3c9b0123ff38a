"""Records that are too many for memory: divided, sorted or listed by way of a temporary file.

The file has no name, and it is gone when nothing uses it any more or the process ends. Small ones
stay in memory.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, starmap
from operator import add, eq
from typing import Any, Generic, NamedTuple, TypeVar, overload
from zlib import crc32

import pyarrow as pa

from fusion_core.errors import StorageError

T = TypeVar("T")
U = TypeVar("U")

RECORDS_AT_ONCE = 1 << 17
"""Number of records that are in memory together."""
BUCKETS = 256
_IN_MEMORY_BYTES = 16 * 1024 * 1024
_BLOCK_RECORDS = 1024
_CODEC = pa.Codec("zstd", compression_level=1)


class _Block(NamedTuple):
    offset: int
    compressed: int
    size: int
    """Number of bytes before compression."""


class Spool:
    """Blocks of records in a temporary file."""

    def __init__(self) -> None:
        # It lives as long as this object, which may be part of a result.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        self._end = 0
        self._lock = threading.Lock()

    def write(self, records: Sequence[Any]) -> _Block:
        """Add a block of records, which `pickle` can represent.

        Raises:
            StorageError: The temporary folder is full or cannot be written.
        """
        data = pickle.dumps(records, pickle.HIGHEST_PROTOCOL)
        compressed = _CODEC.compress(data, asbytes=True)
        with self._lock:
            block = _Block(self._end, len(compressed), len(data))
            try:
                self._file.seek(self._end)
                self._file.write(compressed)
            except OSError as error:
                raise StorageError(
                    f"Cannot write to the temporary folder {tempfile.gettempdir()}: "
                    f"{error.strerror}; make room there, or name another folder with TMPDIR"
                ) from None
            self._end += len(compressed)
        return block

    def read(self, block: _Block) -> Any:  # noqa: ANN401
        """Return the records of a block."""
        with self._lock:
            self._file.seek(block.offset)
            compressed = self._file.read(block.compressed)
        return pickle.loads(_CODEC.decompress(compressed, block.size, asbytes=True))


class Rows(Sequence[T]):
    """An unchangeable sequence that takes little memory: its items are stored in blocks.

    Args:
        items: The items.
        make: Turns a stored item into what it was; NamedTuples are stored as plain tuples.
    """

    def __init__(
        self, items: Iterable[T] = (), make: Callable[[Any], T] = lambda item: item
    ) -> None:
        self._make = make
        self._spool = Spool()
        self._blocks: list[_Block] = []
        self._count = 0
        iterator = iter(items)
        while part := list(islice(iterator, _BLOCK_RECORDS)):
            self._blocks.append(self._spool.write(_plain(part)))
            self._count += len(part)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            yield from map(self._make, self._spool.read(block))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Expected an index below {len(self)}, but got {index}")
        block = self._spool.read(self._blocks[number // _BLOCK_RECORDS])
        return self._make(block[number % _BLOCK_RECORDS])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self[:3]))
        return f"<{len(self)} rows: {first}{', …' if len(self) > 3 else ''}>"


def _plain(records: Iterable[object]) -> list[object]:
    """Return records as they are stored, which for NamedTuples is faster as plain tuples."""
    return [tuple(one) if isinstance(one, tuple) else one for one in records]


def bucket_of(text: str) -> int:
    """Return the bucket of a text, the same in every process."""
    return crc32(text.encode("utf-8", "surrogatepass")) % BUCKETS


class Parts(Generic[T]):
    """Records in parts that fit into memory, where records of one bucket are in one part.

    Few records are a single part, and are not divided at all.

    Args:
        bucket: Returns the bucket of a record, a number below `BUCKETS`. It is called once for each
            record, and only if there are many.
        at_once: Number of records of a part, which only a bucket with more of them exceeds.
        make: The class of the records, if these are NamedTuples; they are stored as plain tuples,
            which takes less time.
    """

    def __init__(
        self,
        bucket: Callable[[T], int],
        at_once: int = RECORDS_AT_ONCE,
        make: Callable[..., T] | None = None,
    ) -> None:
        self._bucket, self._at_once, self._make = bucket, at_once, make
        self._block_records = max(1, min(_BLOCK_RECORDS, at_once // (2 * BUCKETS)))
        self._few: list[T] | None = []
        self._waiting: list[list[T]] = []
        self._blocks: list[list[_Block]] = []
        self.sizes = [0] * BUCKETS
        """Number of records of each bucket, once they are divided."""
        self._spool = Spool()

    @property
    def divided(self) -> bool:
        """Whether there may be more than one part."""
        return self._few is None

    def __len__(self) -> int:
        return sum(self.sizes) if self._few is None else len(self._few)

    def add(self, record: T) -> None:
        """Add a record."""
        if self._few is None:
            self._divide(record)
            return
        self._few.append(record)
        if len(self._few) > self._at_once:
            self.divide()

    def divide(self) -> None:
        """Divide the records, also if they are few."""
        if self._few is None:
            return
        few, self._few = self._few, None
        self._waiting = [[] for _ in range(BUCKETS)]
        self._blocks = [[] for _ in range(BUCKETS)]
        for one in few:
            self._divide(one)

    def _divide(self, record: T) -> None:
        bucket = self._bucket(record)
        self.sizes[bucket] += 1
        waiting = self._waiting[bucket]
        waiting.append(record)
        if len(waiting) == self._block_records:
            stored = waiting if self._make is None else _plain(waiting)
            self._blocks[bucket].append(self._spool.write(stored))
            waiting.clear()

    def __iter__(self) -> Iterator[list[T]]:
        return self.parts()

    def parts(self, joined: Iterable[tuple[int, int]] = ()) -> Iterator[list[T]]:
        """Yield the records of each part, in the order of their buckets.

        Args:
            joined: Buckets whose records must be in one part.
        """
        if self._few is not None:
            yield list(self._few)
            return
        for buckets in _group(self.sizes, joined, self._at_once):
            yield self.records_in(buckets)

    def beside(self, others: Parts[U]) -> Iterator[tuple[list[T], list[U]]]:
        """Yield the records of each part, with other records that are in the same buckets."""
        if not (self.divided or others.divided):
            yield from zip(self, others, strict=True)
            return
        self.divide()
        others.divide()
        sizes = list(map(add, self.sizes, others.sizes))
        for buckets in _group(sizes, (), self._at_once):
            yield self.records_in(buckets), others.records_in(buckets)

    def records_in(self, buckets: Iterable[int]) -> list[T]:
        """Return the records of some buckets, once they are divided."""
        records: list[T] = []
        for bucket in buckets:
            for block in self._blocks[bucket]:
                stored = self._spool.read(block)
                records += stored if self._make is None else starmap(self._make, stored)
            records += self._waiting[bucket]
        return records


def _group(
    sizes: Sequence[int], joined: Iterable[tuple[int, int]], at_once: int
) -> Iterator[list[int]]:
    """Yield the buckets of each part."""
    groups = {bucket: [bucket] for bucket in range(len(sizes))}
    for one, other in joined:
        if groups[one] is not groups[other]:
            groups[one] += groups[other]
            groups.update(dict.fromkeys(groups[other], groups[one]))
    part: list[int] = []
    for group in {id(group): group for group in groups.values()}.values():
        if part and sum(sizes[bucket] for bucket in (*part, *group)) > at_once:
            yield part
            part = []
        part = [*part, *group]
    yield part


class Runs(Generic[T]):
    """Sorted lists of records, which are merged when they are read.

    Args:
        key: Returns what records are sorted by.
    """

    def __init__(self, key: Callable[[T], Any]) -> None:
        self._key = key
        self._spool = Spool()
        self._runs: list[list[_Block]] = []

    def add(self, records: Iterable[T]) -> None:
        """Add records, in any order; equal ones stay in theirs."""
        run = sorted(records, key=self._key)
        blocks = range(0, len(run), _BLOCK_RECORDS)
        self._runs.append([self._spool.write(run[n : n + _BLOCK_RECORDS]) for n in blocks])

    def __iter__(self) -> Iterator[T]:
        yield from heapq.merge(*map(self._read, self._runs), key=self._key)

    def _read(self, blocks: Iterable[_Block]) -> Iterator[T]:
        for block in blocks:
            yield from self._spool.read(block)
