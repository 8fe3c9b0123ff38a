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
    if image.dtype.kind == "f":
        # Relative to the largest value, so that no difference overflows.
        values = image.astype(np.float64) / (float(np.abs(image).max(initial=0.0)) or 1.0)
        low, high = float(values.min()), float(values.max())
    elif image.dtype == np.uint16:
        values, low, high = image, 0.0, 65535.0
    else:
        raise InvalidValueError(
            f"Expected an image of uint8, uint16 or floating-point values, but got {image.dtype}"
        )
    if rule == "percentile":
        low, high = (float(v) for v in np.percentile(values, (_LOW_PERCENTILE, _HIGH_PERCENTILE)))
        if high <= low:
            low, high = float(values.min()), float(values.max())
    if high <= low:
        level = round(low / 257.0) if image.dtype == np.uint16 else 0
        return np.full(image.shape, level, dtype=np.uint8)
    with np.errstate(over="ignore"):  # far above the 99th percentile
        scaled = (values.astype(np.float64) - low) / (high - low) * 255.0
    return np.floor(np.clip(scaled, 0.0, 255.0) + 0.5).astype(np.uint8)
