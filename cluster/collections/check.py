"""A check of the images of a collection before anything is fused, by their headers if possible."""

from __future__ import annotations

import io
import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pyarrow as pa

from cluster.storage import Reader
from fusion_core.choices import DEFAULT_MAX_PIXELS, Resize
from fusion_core.errors import ImageDecodeError, IrfuseError
from fusion_core.images import ALL_BANDS, Bands, ImageHeader, decode_pair, read_header

_READERS = 32
_AHEAD = 4 * _READERS
_DECODERS = 4
"""Pairs that are decoded at the same time."""
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
    """Number of pairs per size, such as `640x480`."""
    infrared: Counter[str] = field(default_factory=Counter)
    """Number of infrared images per bit depth and colour, such as `8-bit gray`."""
    visible: Counter[str] = field(default_factory=Counter)
    """The same of the visible images."""
    bytes: int = 0
    """Size of all files whose headers could be read."""
    megapixels: float = 0.0
    """Width times height of the visible images."""
    bad: Counter[Kind] = field(default_factory=Counter)
    """Number of pairs that cannot be fused as they are."""
    problems: list[Problem] = field(default_factory=list)
    """The first ones among them."""


class _Headers(NamedTuple):
    pair_id: str
    ir: ImageHeader | None
    vis: ImageHeader | None
    problem: Problem | None
    bytes: int = 0


def check_pairs(
    batches: Iterable[pa.RecordBatch],
    reader: Reader,
    on_pair: Callable[[int], None] = lambda done: None,
    *,
    bands: Bands = ALL_BANDS,
    resize: Resize = "off",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> CollectionCheck:
    """Read the headers of all images of a manifest, many at the same time.

    Images whose headers do not suffice, or of which bands are selected, are read and decoded as a
    run does.

    Args:
        batches: The manifest.
        reader: Reads the images.
        on_pair: Called with the number of pairs that are done.
        bands: Bands to select.
        resize: Whether images of different sizes are brought to one size.
        max_pixels: Largest accepted image.
    """
    check, rules = CollectionCheck(), _Rules(reader, bands, resize, max_pixels)
    for headers in _in_parallel(batches, rules):
        check.pairs += 1
        check.bytes += headers.bytes
        if headers.vis is not None:
            check.megapixels += headers.vis.width * headers.vis.height / 1e6
        for header, kinds in ((headers.ir, check.infrared), (headers.vis, check.visible)):
            if header is not None:
                kinds[header.kind] += 1
        if headers.problem is not None:
            check.bad[headers.problem.kind] += 1
            if len(check.problems) < _MOST_PROBLEMS:
                check.problems.append(headers.problem)
        elif headers.ir is not None and headers.vis is not None:
            check.sizes[_size(headers.ir, headers.vis)] += 1
        on_pair(check.pairs)
    return check


@dataclass(frozen=True, slots=True)
class _Rules:
    """What decides whether a pair can be fused."""

    reader: Reader
    bands: Bands
    resize: Resize
    max_pixels: int
    decoding: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_DECODERS)
    )


def _in_parallel(batches: Iterable[pa.RecordBatch], rules: _Rules) -> Iterator[_Headers]:
    """Yield the headers of each pair in order, with a bounded number of pairs ahead."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="irfuse-check") as pool:
        pending: deque[Future[_Headers]] = deque()
        try:
            for row in itertools.chain.from_iterable(map(_rows, batches)):
                pending.append(pool.submit(_read_pair, rules, *row))
                if len(pending) == _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, str, str]]:
    columns = (batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri"))
    return zip(*columns, strict=True)


def _read_pair(rules: _Rules, pair_id: str, ir_uri: str, vis_uri: str) -> _Headers:
    found: dict[str, ImageHeader] = {}
    sizes: dict[str, int] = {}
    try:
        for name, uri in (("infrared", ir_uri), ("visible", vis_uri)):
            found[name], sizes[uri] = _read(rules, name, uri)
        ir, vis = found["infrared"], found["visible"]
        if ir.size != vis.size and rules.resize == "off":
            reason = f"infrared {ir.size}, visible {vis.size}"
            problem = Problem(pair_id, "of different sizes", reason)
            return _Headers(pair_id, ir, vis, problem, sum(sizes.values()))
        if rules.bands != ALL_BANDS or not (ir.sufficient and vis.sufficient):
            _decode(rules, ir_uri, vis_uri)
        elif ir_uri == vis_uri:
            _require_both(ir)
    except IrfuseError as error:
        problem = Problem(pair_id, "unreadable", str(error))
        known = found.get("infrared"), found.get("visible")
        return _Headers(pair_id, *known, problem, sum(sizes.values()))
    return _Headers(pair_id, ir, vis, None, sum(sizes.values()))


def _read(rules: _Rules, name: str, uri: str) -> tuple[ImageHeader, int]:
    """Return what an image file says of itself, and its size in bytes."""
    if not uri:
        raise ImageDecodeError(f"the manifest has no {name} image for this pair")
    with rules.reader.open(uri) as file:
        try:
            header = read_header(file, max_pixels=rules.max_pixels)
            return header, file.seek(0, io.SEEK_END)
        except ImageDecodeError as error:
            raise ImageDecodeError(f"{name} image: {error}") from None


def _decode(rules: _Rules, ir_uri: str, vis_uri: str) -> None:
    with rules.decoding:
        ir = rules.reader.read(ir_uri)
        vis = None if ir_uri == vis_uri else rules.reader.read(vis_uri)
        decode_pair(ir, vis, rules.bands, max_pixels=rules.max_pixels)


def _size(ir: ImageHeader, vis: ImageHeader) -> str:
    return ir.size if ir.size == vis.size else f"infrared {ir.size} and visible {vis.size}"


def _require_both(header: ImageHeader) -> None:
    if header.channels < _FOUR_CHANNELS:
        raise ImageDecodeError(
            f"Expected 4 channels (RGB and infrared) in one image, but got {header.channels}"
        )
