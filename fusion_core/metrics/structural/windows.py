"""The windows of structural similarity: 11x11, Gaussian or flat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS, _SIGMA = 5, 1.5
WINDOW = 2 * RADIUS + 1


def gaussian_taps() -> Tensor:
    """The Gaussian window along one axis, `(11,)` float64, sum 1."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    taps = torch.exp(-(offsets**2) / (2.0 * _SIGMA**2))
    return taps / taps.sum()


def gaussian_means(images: Tensor) -> Tensor:
    """Average `(…, H, W)` float64 over Gaussian windows, sigma 1.5, where they fit.

    Returns:
        `(…, H - 10, W - 10)`.
    """
    return _filter(images, gaussian_taps().tolist())


def box_sums(images: Tensor) -> Tensor:
    """Sum `(…, H, W)` float64 over 11x11 windows where they fit; whole numbers stay exact.

    Returns:
        `(…, H - 10, W - 10)`.
    """
    return _filter(images, [1.0] * WINDOW)


def repeat_border(images: Tensor) -> Tensor:
    """Pad `(N, B, H, W)` by half a window, the border repeated."""
    return functional.pad(images, (RADIUS,) * 4, mode="replicate")


def _filter(images: Tensor, taps: list[float]) -> Tensor:
    """Filter columns and rows by products with banded matrices, which GPUs are fast at."""
    height, width = images.shape[-2:]
    down, across = (_band_matrix(length, taps, images) for length in (height, width))
    return down @ images @ across.T


def _band_matrix(length: int, taps: list[float], like: Tensor) -> Tensor:
    """Return the matrix that slides the window along one axis: `(length - 10, length)`."""
    matrix = like.new_zeros(length - WINDOW + 1, length)
    for offset, tap in enumerate(taps):
        matrix.diagonal(offset).fill_(tap)
    return matrix
