"""What images may be: their type, and the limits of their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import ImageDecodeError

Pixels = NDArray[Any]
"""An image: `(H, W)` gray or `(H, W, 3)` RGB, dtype uint8, uint16 or floating-point."""


def check_depth(dtype: np.dtype[Any]) -> None:
    """Reject images that have neither 8 or 16 bits nor floating-point values.

    Raises:
        ImageDecodeError: The image has another type.
    """
    if dtype not in (np.uint8, np.uint16) and dtype.kind != "f":
        raise ImageDecodeError(
            f"Expected 8 or 16 bits per pixel, or floating-point values, but got {dtype}"
        )


def check_finite(pixels: Pixels) -> None:
    """Reject floating-point images with values that are not numbers.

    Raises:
        ImageDecodeError: Values are NaN or infinite.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int(pixels.size - np.isfinite(pixels).sum())
        raise ImageDecodeError(
            f"{count} of {pixels.size} values of the image are NaN or infinite; replace them"
        )


def check_pixel_count(width: int, height: int, max_pixels: int) -> None:
    """Reject empty images, and images with more than `max_pixels` pixels.

    Raises:
        ImageDecodeError: The size is not accepted.
    """
    if width < 1 or height < 1:
        raise ImageDecodeError(
            f"The image is damaged: its header states a size of {width}x{height}"
        )
    if width * height > max_pixels:
        raise ImageDecodeError(
            f"The size of the image is {width}x{height}, over the limit of {max_pixels} pixels; "
            "increase --max-pixels to accept it"
        )


def check_tiles(width: int, height: int, max_pixels: int) -> None:
    """Reject tiles that are larger than the limit for images, because tiles are decoded at once.

    Raises:
        ImageDecodeError: The tiles are too large.
    """
    if width * height > max_pixels:
        raise ImageDecodeError(
            f"The image has tiles of {width}x{height}, over the limit of {max_pixels} pixels"
        )
