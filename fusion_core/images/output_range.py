"""Output range: conversion of a method's output to 0..255."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.choices import OutputRange

_FLAT = 1e-4
"""Range relative to the largest value below which a float32 image counts as flat."""


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
