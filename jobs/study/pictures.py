"""Strips of pictures: one pair, its sources and every method's image, and two places enlarged."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.runs import Gallery
from cluster.storage import Store
from fusion_core.images import (
    Window,
    encode_webp,
    fit,
    hottest_window,
    most_different_window,
)
from fusion_core.statistics import Reason
from jobs.study.record import cell_key
from jobs.study.statistics import CollectionStatistics, PairSummary

PICTURES_PREFIX = "pictures"
_BYTES = 7_000_000
"""Size of all pictures of a page, which has less than 10 MB with base64 and everything else."""
_BYTES_PER_PIXEL = 0.3
_LARGEST_SIDE, _SMALLEST_SIDE = 768, 192
_QUALITY = 88
_ZOOM = 96
_MOST_TRIES = 4

_REASONS: tuple[Reason, ...] = ("best", "worst", "disputed", "typical")
"""Why pairs are shown, in the order in which they are."""

Pixels = NDArray[np.uint8]
Keep = Callable[[str, bytes], str]
"""Takes the name and the bytes of a picture, and returns what the page refers to."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One column of a strip."""

    label: str
    kind: str
    """`source` or `method`."""
    whole: str
    """Address of the whole picture, or empty."""
    zooms: tuple[str, ...]
    """Addresses of the places that are enlarged."""
    problem: str = ""
    """Why there is no picture."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A place that is enlarged, in percent of the picture."""

    name: str
    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True, slots=True)
class Strip:
    """A pair as a strip of pictures."""

    pair: PairSummary
    place: int
    """Place of the pair in the scores."""
    size: tuple[int, int]
    """Width and height of the sources."""
    pictures: tuple[Picture, ...]
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The images of a pair, or why there is none."""

    pair: PairSummary
    place: int
    sources: tuple[Pixels | str, Pixels | str]
    fused: dict[str, Pixels | str]


def make_strips(
    out: Store, collections: Sequence[CollectionStatistics], keep: Keep
) -> dict[str, list[Strip]]:
    """Return the strips of every collection, with pictures as large as a page can have.

    Args:
        out: Output location of the study.
        collections: Its statistics, which say which pairs are shown.
        keep: What is done with each picture.

    Raises:
        StorageError: A run is damaged or cannot be read.
    """
    count = sum(
        2 + len(each.scores.labels)
        for each in collections
        for look in each.looks
        if look.reason != "none"
    )
    pixels = _BYTES / _BYTES_PER_PIXEL / max(1, count)
    side = int(np.clip((pixels * 4 / 3) ** 0.5, _SMALLEST_SIDE, _LARGEST_SIDE))
    for _ in range(_MOST_TRIES):
        kept: dict[str, bytes] = {}
        strips = {each.collection: list(_strips(out, each, side, kept)) for each in collections}
        if sum(map(len, kept.values())) <= _BYTES or side == _SMALLEST_SIDE:
            break
        side = max(_SMALLEST_SIDE, side * 3 // 4)
    addresses = {name: keep(name, data) for name, data in kept.items()}
    return {
        name: [_addressed(strip, addresses) for strip in found] for name, found in strips.items()
    }


def embed(name: str, data: bytes) -> str:
    """Return a picture as a `data:` address."""
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _addressed(strip: Strip, addresses: dict[str, str]) -> Strip:
    """Replace the names of pictures by their addresses."""
    return Strip(
        strip.pair,
        strip.place,
        strip.size,
        tuple(
            Picture(
                picture.label,
                picture.kind,
                addresses.get(picture.whole, ""),
                tuple(addresses[name] for name in picture.zooms),
                picture.problem,
            )
            for picture in strip.pictures
        ),
        strip.frames,
    )


def _strips(
    out: Store, each: CollectionStatistics, side: int, kept: dict[str, bytes]
) -> Iterator[Strip]:
    galleries = {
        label: Gallery(
            Store(out.uri(cell_key(each.collection, label)), out.storage_options), run, whole=True
        )
        for label, run in zip(each.scores.labels, each.scores.runs, strict=True)
    }
    shown = [(place, look) for place, look in enumerate(each.looks) if look.reason in _REASONS]
    for place, look in sorted(shown, key=lambda item: _REASONS.index(item[1].reason)):
        yield _strip(_load(each, galleries, place, look), each, side, kept)


def _load(
    each: CollectionStatistics, galleries: dict[str, Gallery], place: int, look: PairSummary
) -> _Pair:
    fused: dict[str, Pixels | str] = {}
    sources: tuple[Pixels | str, Pixels | str] | None = None
    for number, label in enumerate(each.scores.labels):
        position = int(each.scores.positions[place, number])
        if sources is None:
            view = galleries[label].view(position)
            sources, fused[label] = (view.ir, view.vis), view.fused
        else:
            fused[label] = galleries[label].fused(position)[1]
    assert sources is not None
    return _Pair(look, place, sources, fused)


def _strip(pair: _Pair, each: CollectionStatistics, side: int, kept: dict[str, bytes]) -> Strip:
    ir, vis = pair.sources
    outputs = [image for image in pair.fused.values() if not isinstance(image, str)]
    windows: dict[str, Window] = {}
    shapes = {image.shape[:2] for image in outputs}
    if outputs and len(shapes) == 1:
        windows["where methods differ most"] = most_different_window(outputs, _ZOOM)
    if not isinstance(ir, str) and shapes <= {ir.shape[:2]}:
        windows["hottest spot"] = hottest_window(ir, _ZOOM)
    shape = outputs[0].shape if outputs else (1, 1)
    base = f"{each.collection}-{pair.place + 1}"
    order = [*each.order(), *each.disqualified]
    columns = [("infrared", "source", ir), ("visible", "source", vis)]
    columns += [(label, "method", pair.fused[label]) for label in order]
    return Strip(
        pair.pair,
        pair.place,
        (shape[1], shape[0]),
        tuple(
            _picture(f"{base}-{number}", label, kind, image, list(windows.values()), side, kept)
            for number, (label, kind, image) in enumerate(columns)
        ),
        tuple(_frame(name, window, shape) for name, window in windows.items()),
    )


def _picture(
    name: str,
    label: str,
    kind: str,
    image: Pixels | str,
    windows: Sequence[Window],
    side: int,
    kept: dict[str, bytes],
) -> Picture:
    if isinstance(image, str):
        return Picture(label, kind, "", (), image)
    small = max(image.shape[:2]) <= side
    whole = image if small else fit(image, (side, side))
    kept[f"{name}.webp"] = encode_webp(whole, quality=_QUALITY)
    zooms = []
    for number, window in enumerate(windows, start=1):
        zooms.append(f"{name}-zoom{number}.webp")
        kept[zooms[-1]] = encode_webp(window.cut(image), quality=95)
    return Picture(label, kind, f"{name}.webp", tuple(zooms))


def _frame(name: str, window: Window, shape: tuple[int, ...]) -> Frame:
    height, width = shape[:2]
    return Frame(
        name,
        100 * window.top / height,
        100 * window.left / width,
        100 * window.height / height,
        100 * window.width / width,
    )
