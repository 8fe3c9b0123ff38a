"""Bit depth: conversion of 16-bit sources to 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.choices import SixteenBit
from fusion_core.errors import InvalidValueError
from fusion_core.images.limits import Pixels

_LOW_PERCENTILE, _HIGH_PERCENTILE = 1.0, 99.0


def to_eight_bit(image: Pixels, rule: SixteenBit = "percentile") -> NDArray[np.uint8]:
    """Convert an image to 8 bits; 8-bit images are returned unchanged.

    Args:
        image: `(H, W)` or `(H, W, 3)`, uint8, uint16 or floating-point with finite values.
        rule: `percentile` maps the 1st and 99th percentiles of the image (over all channels, so
            that colours are preserved) linearly to 0 and 255; `full` maps 0..65535 to 0..255, or
            the minimum and maximum of a floating-point image, whose unit is unknown.

    Returns:
        uint8 of the same shape, rounded half up.

    Raises:
        InvalidValueError: The dtype is another one.

    >>> to_eight_bit(np.uint16([[0, 257, 65535]]), "full").tolist()
    [[0, 1, 255]]
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return _convert_levels(image, rule)
    if image.dtype.kind != "f":
        raise InvalidValueError(
            f"Expected an image of uint8, uint16 or floating-point values, but got {image.dtype}"
        )
    # Relative to the largest value, so that no difference overflows.
    values = image.astype(np.float64) / (float(np.abs(image).max(initial=0.0)) or 1.0)
    low, high = float(values.min()), float(values.max())
    if rule == "percentile":
        first, last = (float(v) for v in np.percentile(values, (_LOW_PERCENTILE, _HIGH_PERCENTILE)))
        low, high = (first, last) if last > first else (low, high)
    if high <= low:
        return np.zeros(image.shape, dtype=np.uint8)
    return _scale(values, low, high)


def _convert_levels(image: NDArray[np.uint16], rule: SixteenBit) -> NDArray[np.uint8]:
    """Convert 16-bit levels by their histogram and a table."""
    low, high = 0.0, 65535.0
    if rule == "percentile":
        counts = np.bincount(image.ravel())
        low, high = _percentile(counts, _LOW_PERCENTILE), _percentile(counts, _HIGH_PERCENTILE)
        if high <= low:
            low, high = float(image.min()), float(image.max())
    if high <= low:
        return np.full(image.shape, round(low / 257.0), dtype=np.uint8)
    levels = np.arange(int(image.max()) + 1, dtype=np.float64)
    return _scale(levels, low, high)[image]


def _percentile(counts: NDArray[np.intp], percent: float) -> float:
    """Return a percentile of levels from their histogram, interpolated as `np.percentile` does."""
    ends = counts.cumsum()
    position = percent / 100.0 * (int(ends[-1]) - 1)
    below = int(position)
    share = position - below
    first, second = (int(v) for v in np.searchsorted(ends, (below, below + 1), side="right"))
    second = min(second, len(counts) - 1)  # there is none above the last pixel
    gap = second - first
    return first + gap * share if share < 0.5 else second - gap * (1.0 - share)


def _scale(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Map low and high linearly to 0 and 255, rounded half up."""
    with np.errstate(over="ignore"):  # far above the 99th percentile
        scaled = (values - low) / (high - low) * 255.0
    return np.floor(np.clip(scaled, 0.0, 255.0) + 0.5).astype(np.uint8)
