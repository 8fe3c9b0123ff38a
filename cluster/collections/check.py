"""A check of a collection by the headers of its images, before anything is fused."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pyarrow as pa

from cluster.storage import Reader
from fusion_core.errors import ImageDecodeError, IrfuseError
from fusion_core.images import ImageHeader, read_header

_READERS = 32
_AHEAD = 4 * _READERS
_MOST_PROBLEMS = 100
_FOUR_CHANNELS = 4

Kind = Literal["unreadable", "of different sizes"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A pair that cannot be fused as it is."""

    pair_id: str
    kind: Kind
    reason: str


@dataclass(slots=True)
class CollectionCheck:
    """What the headers of a collection's images say."""

    pairs: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    """Number of pairs per size, such as `640x480`, without those whose images differ in size."""
    infrared: Counter[str] = field(default_factory=Counter)
    """Number of infrared images per bit depth and colour, such as `8-bit gray`."""
    visible: Counter[str] = field(default_factory=Counter)
    """The same of the visible images."""
    bad: Counter[Kind] = field(default_factory=Counter)
    """Number of pairs that cannot be fused as they are."""
    problems: list[Problem] = field(default_factory=list)
    """The first ones among them."""


class _Headers(NamedTuple):
    pair_id: str
    ir: ImageHeader | None
    vis: ImageHeader | None
    problem: Problem | None


def check_pairs(
    batches: Iterable[pa.RecordBatch],
    reader: Reader,
    on_pair: Callable[[int], None] = lambda done: None,
) -> CollectionCheck:
    """Read the headers of all images of a manifest, many at the same time.

    Args:
        batches: The manifest.
        reader: Reads the images.
        on_pair: Called with the number of pairs that are done.
    """
    check = CollectionCheck()
    for headers in _in_parallel(batches, reader):
        check.pairs += 1
        for header, kinds in ((headers.ir, check.infrared), (headers.vis, check.visible)):
            if header is not None:
                kinds[header.kind] += 1
        if headers.problem is not None:
            check.bad[headers.problem.kind] += 1
            if len(check.problems) < _MOST_PROBLEMS:
                check.problems.append(headers.problem)
        elif headers.ir is not None:
            check.sizes[headers.ir.size] += 1
        on_pair(check.pairs)
    return check


def _in_parallel(batches: Iterable[pa.RecordBatch], reader: Reader) -> Iterator[_Headers]:
    """Yield the headers of each pair in order, with a bounded number of pairs ahead."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="irfuse-check") as pool:
        pending: deque[Future[_Headers]] = deque()
        try:
            for row in itertools.chain.from_iterable(map(_rows, batches)):
                pending.append(pool.submit(_read_pair, reader, *row))
                if len(pending) == _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, str, str]]:
    columns = (batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri"))
    return zip(*columns, strict=True)


def _read_pair(reader: Reader, pair_id: str, ir_uri: str, vis_uri: str) -> _Headers:
    found: dict[str, ImageHeader] = {}
    try:
        for name, uri in (("infrared", ir_uri), ("visible", vis_uri)):
            found[name] = _read(reader, name, uri)
        if ir_uri == vis_uri:
            _require_both(found["infrared"])
    except IrfuseError as error:
        problem = Problem(pair_id, "unreadable", str(error))
        return _Headers(pair_id, found.get("infrared"), found.get("visible"), problem)
    ir, vis = found["infrared"], found["visible"]
    if ir.size == vis.size:
        return _Headers(pair_id, ir, vis, None)
    reason = f"infrared {ir.size}, visible {vis.size}"
    return _Headers(pair_id, ir, vis, Problem(pair_id, "of different sizes", reason))


def _read(reader: Reader, name: str, uri: str) -> ImageHeader:
    if not uri:
        raise ImageDecodeError(f"the manifest has no {name} image for this pair")
    with reader.open(uri) as file:
        try:
            return read_header(file)
        except ImageDecodeError as error:
            raise ImageDecodeError(f"{name} image: {error}") from None


def _require_both(header: ImageHeader) -> None:
    if header.channels < _FOUR_CHANNELS:
        raise ImageDecodeError(
            f"Expected 4 channels (RGB and infrared) in one image, but got {header.channels}"
        )
