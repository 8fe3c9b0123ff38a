"""Bit depth: conversion of 16-bit sources to 8 bits, and of a method's output to 0..255."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.choices import OutputRange, SixteenBit
from fusion_core.errors import InvalidValueError
from fusion_core.images.decoding import Pixels

_FLAT = 1e-4
"""Range relative to the largest value below which a float32 image counts as flat."""
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


def apply_output_range(fused: Tensor, output_range: OutputRange) -> Tensor:
    """Map a method's output to 0..255, each image separately.

    Args:
        fused: `(B, 1, H, W)` float32, any range.
        output_range: `clip` clips at 0 and 255; `minmax` maps the minimum and maximum of each image
            to 0 and 255, as in the published results of the autoencoders. An image that is flat
            up to rounding is clipped instead, because `minmax` would amplify its noise.

    Returns:
        `(B, 1, H, W)` float32 in 0..255, not rounded.
    """
    clipped = fused.clamp(0.0, 255.0)
    if output_range == "clip":
        return clipped
    low = fused.amin(dim=(1, 2, 3), keepdim=True)
    high = fused.amax(dim=(1, 2, 3), keepdim=True)
    span = high - low
    flat = span <= _FLAT * torch.maximum(high.abs(), low.abs())
    scaled = (fused - low) * (255.0 / span.masked_fill(flat, 1.0))
    return clipped.where(flat, scaled.clamp(0.0, 255.0))
