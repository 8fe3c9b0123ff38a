"""What the reference metrics share: array types, windows, Pearson correlation, the Gaussian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Gray: TypeAlias = npt.NDArray[np.uint8]
Integers: TypeAlias = npt.NDArray[np.int64]
Reals: TypeAlias = npt.NDArray[np.float64]


def as_double(image: Gray) -> Reals:
    """Scale `(H, W)` 0..255 to 0..1."""
    return image / 255.0


def as_integers(image: Gray) -> Integers:
    """Widen `(H, W)` 0..255 so that sums and differences stay exact."""
    return image.astype(np.int64)


def window_views(image: Reals, size: int) -> list[Reals]:
    """Return what each cell of a sliding window sees, cells in column-major order.

    Args:
        image: `(H, W)`.
        size: The window covers `size x size` pixels.

    Returns:
        `size²` views `(H - size + 1, W - size + 1)`.
    """
    height, width = image.shape[0] - size + 1, image.shape[1] - size + 1
    return [
        image[row : row + height, column : column + width]
        for column in range(size)
        for row in range(size)
    ]


def window_chunks(images: Sequence[Reals], size: int) -> Iterator[list[Reals]]:
    """Yield all windows of some images, a few thousand at a time to bound the memory.

    Args:
        images: `(H, W)` each.
        size: Every window covers `size x size` pixels; none leaves the image.

    Yields:
        Per image `(size², n)`: n windows, each vectorised column-major.
    """
    height, width = images[0].shape
    rows = max(1, 4096 // width)
    for top in range(0, height - size + 1, rows):
        strip = slice(top, top + rows + size - 1)
        yield [np.stack(window_views(x[strip], size)).reshape(size * size, -1) for x in images]


def weighted_sum(weights: Reals, views: Sequence[Reals]) -> Reals:
    """Add each view times its weight, one after the other; 2-D weights count column-major."""
    total = np.zeros(views[0].shape)
    for weight, view in zip(weights.ravel("F"), views, strict=True):
        total += weight * view
    return total


def pearson(x: Integers, y: Integers) -> float:
    """Correlate two integer images over all pixels; NaN if one of them does not vary."""
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    dx, dy = x - x.mean(), y - y.mean()
    return float(np.sum(dx * dy) / np.sqrt(np.sum(dx * dx) * np.sum(dy * dy)))


def gaussian_taps() -> Reals:
    """Return the `(11,)` Gaussian of sigma 1.5 and sum 1; its outer square is the 2-D window."""
    taps: Reals = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    return taps
