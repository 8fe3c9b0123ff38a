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
        image: `(H, W)` or `(H, W, 3)`, uint8 or uint16.
        rule: `percentile` maps the 1st and 99th percentiles of the image (over all channels, so
            that colours are preserved) linearly to 0 and 255; `full` maps 0..65535 to 0..255.

    Returns:
        uint8 of the same shape, rounded half up.

    Raises:
        InvalidValueError: The dtype is neither uint8 nor uint16.

    >>> to_eight_bit(np.uint16([[0, 257, 65535]]), "full").tolist()
    [[0, 1, 255]]
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise InvalidValueError(f"Expected an image of uint8 or uint16, but got {image.dtype}")
    low, high = 0.0, 65535.0
    if rule == "percentile":
        low, high = (float(v) for v in np.percentile(image, (_LOW_PERCENTILE, _HIGH_PERCENTILE)))
        if high <= low:
            low, high = float(image.min()), float(image.max())
    if high <= low:
        return np.full(image.shape, round(low / 257.0), dtype=np.uint8)
    scaled = (image.astype(np.float64) - low) * (255.0 / (high - low))
    return np.floor(np.clip(scaled, 0.0, 255.0) + 0.5).astype(np.uint8)
