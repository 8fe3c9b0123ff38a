"""Windows of images that are worth enlarging when methods are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import InvalidValueError
from fusion_core.images.colour import luma

_SPOT = 15
"""Side in pixels of the area whose mean decides what the hottest spot is."""


class Window(NamedTuple):
    """A rectangle of an image in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of an image that the window shows."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def most_different_window(images: Sequence[NDArray[np.uint8]], size: int = 96) -> Window:
    """Return the window in which images of one scene differ most.

    Each image is standardised to mean 0 and variance 1, so that overall brightness and contrast do
    not count; the window has the largest mean of the standard deviations between the images.

    Args:
        images: One or more images `(H, W)` or `(H, W, 3)` uint8 of one size.
        size: Side of the window; less if the images are smaller.

    Raises:
        InvalidValueError: There are no images, or their sizes differ.

    Example:
        >>> images = np.zeros((2, 100, 200), dtype=np.uint8)
        >>> images[0, 40:60, 150:170] = 200
        >>> most_different_window(images, 50)
        Window(top=25, left=135, height=50, width=50)
    """
    if len({image.shape[:2] for image in images}) != 1:
        raise InvalidValueError("Expected images of one size")
    gray = np.stack([luma(image).astype(np.float32) for image in images])
    spread = gray.std(axis=(1, 2), keepdims=True)
    standard = (gray - gray.mean(axis=(1, 2), keepdims=True)) / np.where(spread > 0, spread, 1)
    return _best_window(standard.std(axis=0), size)


def hottest_window(ir: NDArray[np.uint8], size: int = 96) -> Window:
    """Return the window around the hottest spot of an infrared image: its values minus the median.

    Args:
        ir: Infrared image `(H, W)` or `(H, W, 3)` uint8.
        size: Side of the window; less if the image is smaller.

    Example:
        >>> ir = np.zeros((100, 200), dtype=np.uint8)
        >>> ir[70:80, 20:30] = 255
        >>> hottest_window(ir, 50)
        Window(top=50, left=0, height=50, width=50)
    """
    gray = luma(ir).astype(np.float32)
    spot = _best_window(gray - np.median(gray), _SPOT)
    return _around(spot.top + spot.height // 2, spot.left + spot.width // 2, gray.shape, size)


def _best_window(values: NDArray[np.float32], size: int) -> Window:
    """Return the window with the largest mean, the middle one of several."""
    height, width = (min(size, side) for side in values.shape)
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    sums[1:, 1:] = values.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    totals = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    totals += sums[:-height, :-width]
    best = np.argwhere(totals >= totals.max() - 1e-6)
    top, left = best[len(best) // 2]
    return Window(int(top), int(left), height, width)


def _around(row: int, column: int, shape: tuple[int, ...], size: int) -> Window:
    """Return the window around a pixel, moved into the image."""
    height, width = (min(size, side) for side in shape[:2])
    top = min(max(0, row - height // 2), shape[0] - height)
    left = min(max(0, column - width // 2), shape[1] - width)
    return Window(top, left, height, width)
