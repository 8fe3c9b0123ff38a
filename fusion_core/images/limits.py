"""What images may be: their type, and the limits of their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import ImageDecodeError

Pixels = NDArray[Any]
"""An image: `(H, W)` gray or `(H, W, 3)` RGB, dtype uint8 or uint16."""


def check_depth(pixels: Pixels) -> Pixels:
    """Reject images that do not have 8 or 16 bits.

    Raises:
        ImageDecodeError: The image has another type.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageDecodeError(f"Expected 8 or 16 bits per pixel, but got {pixels.dtype}")
    return pixels


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
