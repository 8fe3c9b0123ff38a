"""Decoding of TIFF files that Pillow does not support, such as 16-bit RGB."""

from __future__ import annotations

import io

import numpy as np
import tifffile

from fusion_core.errors import ImageDecodeError
from fusion_core.images.limits import Pixels, check_depth, check_pixel_count, check_tiles

TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_MOST_CHANNELS = 4
_MIN_IS_WHITE = 0
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
"""None, LZW, deflate, PackBits, deflate, LZMA and Zstandard, whose decoded size is limited by the
tags. The other compressions contain an embedded image of any size."""


def decode_tiff(data: bytes, max_pixels: int) -> Pixels:
    """Decode the first page of a TIFF file.

    Args:
        data: The whole file.
        max_pixels: Largest accepted width x height, checked before decoding.

    Returns:
        `(H, W)` or `(H, W, C)`, uint8 or uint16.

    Raises:
        ImageDecodeError: The image is too large, or not supported.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
        check_pixel_count(width, height, max_pixels)
        check_tiles(page.tilewidth, page.tilelength, max_pixels)
        if samples > _MOST_CHANNELS:
            raise ImageDecodeError(f"Expected 1 to 4 channels, but got {samples}")
        if page.dtype not in (np.uint8, np.uint16):
            raise ImageDecodeError(f"Expected 8 or 16 bits per pixel, but got {page.dtype}")
        if page.compression not in _COMPRESSIONS:
            raise ImageDecodeError(
                "Expected a TIFF without compression or with LZW, deflate, PackBits, LZMA or "
                f"Zstandard, but got compression {int(page.compression)}"
            )
        if page.axes not in ("YX", "YXS", "SYX"):
            raise ImageDecodeError(f"Expected a TIFF with one flat image, but got axes {page.axes}")
        pixels = np.asarray(page.asarray())
        if page.photometric == _MIN_IS_WHITE:
            pixels = np.iinfo(pixels.dtype).max - pixels
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape[:2] != (height, width):
        raise ImageDecodeError("The image is damaged: its size is not that of its pixels")
    return check_depth(pixels)


def tiff_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the first page as its tags state."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        return int(page.imagewidth), int(page.imagelength)
