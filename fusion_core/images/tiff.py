"""Decoding of TIFF files that Pillow does not support, such as 16-bit RGB and many bands."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import numpy as np
import tifffile

from fusion_core.errors import ImageDecodeError
from fusion_core.images.bands import find_band, select_bands, split_bands
from fusion_core.images.limits import Pixels, check_depth, check_pixel_count, check_tiles

TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

MOST_CHANNELS = 4
"""Channels of a file of which no band has to be selected."""
_MIN_IS_WHITE = 0
_PAGE_NAME, _GDAL_METADATA = 285, 42112
_DESCRIPTION = re.compile(r'<Item name="DESCRIPTION" sample="(\d{1,6})"[^>]*>([^<]*)</Item>')
_MOST_NAMED_PAGES = 256
_FLOATS: dict[Any, Any] = {
    np.dtype(np.int8): np.float32,
    np.dtype(np.int16): np.float32,
    np.dtype(np.int32): np.float64,
    np.dtype(np.uint32): np.float64,
}
"""Floating-point types that hold all values of other integers, whose range is unknown, too."""
_BYTES_PER_PIXEL = 16
"""Size of a page with four channels of 32 bits, relative to `max_pixels`."""
COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
"""None, LZW, deflate, PackBits, deflate, LZMA and Zstandard, whose decoded size is limited by the
tags. The other compressions contain an embedded image of any size."""


def decode_tiff(data: bytes, max_pixels: int, bands: str | None = None) -> Pixels:
    """Decode the first page of a TIFF file, or the bands that are selected.

    Args:
        data: The whole file.
        max_pixels: Largest accepted width x height, checked before decoding.
        bands: Numbers or names of one or three bands. If the first page has a single band, each
            page of the same size is one.

    Returns:
        `(H, W)` or `(H, W, C)`, uint8, uint16 or floating-point; all channels without `bands`.
        Signed integers and those of 32 bits become floating-point values.

    Raises:
        ImageDecodeError: The image is too large, or not supported, or a band does not exist.
        InvalidValueError: Neither one nor three bands are selected.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        first = tiff.pages.first
        if bands is None:
            _require_few_channels(first)
            return _read_page(first, max_pixels)
        if first.samplesperpixel > 1 or len(tiff.pages) == 1:
            return select_bands(_read_page(first, max_pixels), bands, _band_names(first))
        return _read_pages(tiff.pages, max_pixels, split_bands(bands))


def _require_few_channels(page: Any) -> None:  # noqa: ANN401
    if page.samplesperpixel > MOST_CHANNELS:
        names = [f"{number} {name}" for number, name in enumerate(_band_names(page), 1) if name]
        called = f" ({', '.join(names)})" if names else ""
        raise ImageDecodeError(
            f"Expected 1 to 4 channels, but got {page.samplesperpixel}{called}; select a band with "
            "--band"
        )


def _read_pages(pages: Any, max_pixels: int, bands: list[str]) -> Pixels:  # noqa: ANN401
    """Return pages of one band each as one image."""
    shown = pages[: min(len(pages), _MOST_NAMED_PAGES)]
    names = [_page_name(page) for page in shown]
    found = [_read_page(pages[find_band(b, len(pages), names)], max_pixels) for b in bands]
    if len({(image.shape, image.dtype) for image in found}) > 1:
        raise ImageDecodeError("The pages of the selected bands differ in size or type")
    return found[0] if len(found) == 1 else np.stack(found, axis=-1)


def _read_page(page: Any, max_pixels: int) -> Pixels:  # noqa: ANN401
    width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
    check_pixel_count(width, height, max_pixels)
    check_tiles(page.tilewidth, page.tilelength, max_pixels)
    if page.dtype not in _FLOATS:
        check_depth(page.dtype)
    size = width * height * samples * page.dtype.itemsize
    if size > max_pixels * _BYTES_PER_PIXEL:
        raise ImageDecodeError(
            f"The image has {samples} bands of {width}x{height} with {page.dtype}, over the limit "
            f"of {max_pixels * _BYTES_PER_PIXEL} bytes; increase --max-pixels to accept it"
        )
    if page.compression not in COMPRESSIONS:
        raise ImageDecodeError(
            "Expected a TIFF without compression or with LZW, deflate, PackBits, LZMA or "
            f"Zstandard, but got compression {int(page.compression)}"
        )
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ImageDecodeError(f"Expected a TIFF with one flat image, but got axes {page.axes}")
    if sum(page.databytecounts) > _BYTES_PER_PIXEL * max_pixels:
        raise ImageDecodeError("The image is damaged: its parts have more bytes than its pixels")
    pixels = np.asarray(page.asarray())
    if page.photometric == _MIN_IS_WHITE:
        pixels = _top(pixels) - pixels
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape[:2] != (height, width):
        raise ImageDecodeError("The image is damaged: its size is not that of its pixels")
    return pixels.astype(_FLOATS.get(pixels.dtype.newbyteorder("="), pixels.dtype), copy=False)


def _top(pixels: Pixels) -> int:
    """Return the value of white; the zero of floating-point images does not matter."""
    return 0 if pixels.dtype.kind == "f" else int(np.iinfo(pixels.dtype).max)


def _band_names(page: Any) -> list[str]:  # noqa: ANN401
    """Return the names of a page's bands from the metadata of GDAL, with "" for bands without."""
    tag = page.tags.get(_GDAL_METADATA)
    found = {int(n): name for n, name in _DESCRIPTION.findall(str(tag.value))} if tag else {}
    return [html.unescape(found.get(n, "")) for n in range(page.samplesperpixel)] if found else []


def _page_name(page: Any) -> str:  # noqa: ANN401
    tag = page.tags.get(_PAGE_NAME) if hasattr(page, "tags") else None
    return str(tag.value) if tag else ""


def tiff_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the first page as its tags state."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        return int(page.imagewidth), int(page.imagelength)
