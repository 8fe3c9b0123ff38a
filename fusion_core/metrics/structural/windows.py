"""The windows of structural similarity: 11x11, Gaussian or flat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.filters.windows import gaussian_taps, window_sums

RADIUS = 5
WINDOW = 2 * RADIUS + 1


def gaussian_means(images: Tensor) -> Tensor:
    """Average `(…, H, W)` float64 over Gaussian windows, sigma 1.5, where they fit.

    Returns:
        `(…, H - 10, W - 10)`.
    """
    return window_sums(images, gaussian_taps())


def box_sums(images: Tensor) -> Tensor:
    """Sum `(…, H, W)` float64 over 11x11 windows where they fit; whole numbers stay exact.

    Returns:
        `(…, H - 10, W - 10)`.
    """
    return window_sums(images, torch.ones(WINDOW, dtype=torch.float64))


def repeat_border(images: Tensor) -> Tensor:
    """Pad `(N, B, H, W)` by half a window, the border repeated."""
    return functional.pad(images, (RADIUS,) * 4, mode="replicate")
