"""Gaussian smoothing with a window of a given size."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from fusion_core.filters.borders import Border, pad


@functools.lru_cache(maxsize=32)
def gaussian_window(size: int, sigma: float) -> tuple[float, ...]:
    """Return the values of a Gaussian around the center of a window, with the sum 1.

    A column times a row of these values is MATLAB's `fspecial("gaussian", size, sigma)`.

    Example:
        >>> gaussian_window(3, 1.0)[1] > gaussian_window(3, 1.0)[0]
        True
    """
    positions = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    values = torch.exp(-(positions**2) / (2.0 * sigma**2))
    return tuple((values / values.sum()).tolist())


def gaussian_blur(images: Tensor, size: int, sigma: float, border: Border) -> Tensor:
    """Smooth with a Gaussian of standard deviation `sigma` in a window of `size` x `size` pixels.

    The sums follow one order wherever the window lies, so that the result does not depend on the
    batch.

    Args:
        images: `(..., H, W)`, floating point, any H and W.
        size: Side of the window, odd.
        sigma: Standard deviation in pixels.
        border: What lies beyond the border.

    Returns:
        `(..., H, W)`.

    Example:
        >>> gaussian_blur(torch.ones(2, 3), 5, 1.0, "replicate").round(decimals=5).unique()
        tensor([1.])
    """
    window, radius = gaussian_window(size, sigma), size // 2
    for dim, margins in ((-2, (radius, radius, 0, 0)), (-1, (0, 0, radius, radius))):
        images = _weighted_sums(pad(images, margins, border), window, dim)
    return images


def _weighted_sums(images: Tensor, window: tuple[float, ...], dim: int) -> Tensor:
    """Correlate with a symmetric window along a dimension, which becomes shorter."""
    length = images.shape[dim] - len(window) + 1
    radius = len(window) // 2
    total = images.narrow(dim, radius, length) * window[radius]
    for offset in range(1, radius + 1):
        weight = window[radius + offset]
        total.add_(images.narrow(dim, radius - offset, length), alpha=weight)
        total.add_(images.narrow(dim, radius + offset, length), alpha=weight)
    return total
