"""The sources of methods that are defined for two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError


def split_pair(
    sources: Tensor, method: str, *, scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Return the infrared and the visible images, divided by `scale`.

    Args:
        sources: `(2, B, 1, H, W)` float.
        method: Name of the method, for the message.
        scale: Divisor of the gray levels.
        dtype: Precision in which the method computes.

    Returns:
        Two tensors `(B, 1, H, W)`.

    Raises:
        InvalidValueError: There are not exactly two sources.
    """
    if len(sources) != 2:
        raise InvalidValueError(f"{method} fuses 2 sources, but got {len(sources)}")
    infrared, visible = sources.to(dtype, memory_format=torch.contiguous_format).unbind(0)
    return (infrared, visible) if scale == 1.0 else (infrared / scale, visible / scale)


def round_gray(images: Tensor) -> Tensor:
    """Round to whole gray levels, half up, and clip to 0..255."""
    return (images + 0.5).floor().clamp(0.0, 255.0)


def divide(numerator: Tensor, denominator: Tensor, otherwise: Tensor | float) -> Tensor:
    """Divide where the denominator is not 0, and return `otherwise` elsewhere."""
    defined = denominator != 0
    quotient = numerator / torch.where(defined, denominator, 1.0)
    return torch.where(defined, quotient, otherwise)


def gray_histogram(images: Tensor) -> Tensor:
    """Return how many pixels of each image have each gray level, `(B, 256)` float64."""
    levels = round_gray(images).long().flatten(1)
    counts = torch.zeros(len(levels), 256, dtype=torch.float64, device=images.device)
    return counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
