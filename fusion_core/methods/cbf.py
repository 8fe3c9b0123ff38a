"""Cross bilateral filter and pixel significance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fusion_core.filters import pad, sliding_sums
from fusion_core.methods.sources import split_pair
from fusion_core.methods.specs.cbf import CbfParameters

_SIDE = 5
"""Side of the windows of the significance."""
_LEAST = 2.0**-52
"""Significance where there is no detail."""


def cbf(
    sources: Tensor, *, radius: int = 5, sigma_space: float = 1.8, sigma_range: float = 25.0
) -> Tensor:
    """Average the sources with the significance of their details as weights.

    Kumar, "Image fusion based on pixel significance using cross bilateral filter", Signal, Image
    and Video Processing, 2015, https://doi.org/10.1007/s11760-013-0556-9. The detail of a source is
    what the bilateral filter removes whose range kernel is that of the other source. Its
    significance is the sum of the eigenvalues of the covariances of the rows and of the columns of
    5x5 windows, which is computed as the trace of both matrices.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        radius: Radius of the bilateral filter's windows.
        sigma_space: Standard deviation of its spatial kernel in pixels.
        sigma_range: Standard deviation of its range kernel in gray levels.

    Returns:
        `(B, 1, H, W)` float32, within the range of the sources.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> cbf(torch.full((2, 1, 1, 4, 4), 9.0)).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "cbf")
    filtered = cross_bilateral_filters(
        infrared, visible, radius=radius, sigma_space=sigma_space, sigma_range=sigma_range
    )
    first = _significance(infrared - filtered[0])
    second = _significance(visible - filtered[1])
    return ((infrared * first + visible * second) / (first + second)).float()


def cross_bilateral_filters(
    first: Tensor, second: Tensor, *, radius: int, sigma_space: float, sigma_range: float
) -> tuple[Tensor, Tensor]:
    """Smooth each of two images, except across the edges of the other one.

    Args:
        first: `(B, 1, H, W)`.
        second: Likewise.
        radius: Radius of the windows; beyond the border is the mirror image.
        sigma_space: Standard deviation of the spatial kernel.
        sigma_range: Standard deviation of the range kernel.

    Returns:
        Two tensors `(B, 1, H, W)`.
    """
    height, width = first.shape[-2:]
    # Single precision moves the fused image by 3e-5 gray levels on average.
    images = torch.stack((first, second)).float()
    padded = pad(images, (radius,) * 4, "mirror")
    sums, total = images.clone(), torch.ones_like(images)
    for row, column, distance in _half_window(radius):
        # The weights for the neighbour at this offset; shifted, those for the opposite neighbour.
        upper = slice(radius - row, radius + height)
        left = slice(radius - max(column, 0), radius + width - min(column, 0))
        here = padded[..., upper, left]
        there = _shifted(padded, upper, left, row, column)
        weights = (here - there).square_().mul_(-0.5 / sigma_range**2).exp_()
        near = math.exp(-0.5 * distance / sigma_space**2)
        away, back = max(column, 0), max(-column, 0)
        # Each image is weighted by the differences of the other.
        for own, other in ((0, 1), (1, 0)):
            forward = weights[other, ..., row:, away : away + width]
            backward = weights[other, ..., :height, back : back + width]
            sums[own].addcmul_(forward, there[own, ..., row:, away : away + width], value=near)
            sums[own].addcmul_(backward, here[own, ..., :height, back : back + width], value=near)
            total[own].add_(forward, alpha=near).add_(backward, alpha=near)
    filtered = (sums / total).double()
    return filtered[0], filtered[1]


def _shifted(images: Tensor, rows: slice, columns: slice, down: int, right: int) -> Tensor:
    return images[
        ..., rows.start + down : rows.stop + down, columns.start + right : columns.stop + right
    ]


def _half_window(radius: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, column and squared distance of one of each two opposite neighbours."""
    for row in range(radius + 1):
        for column in range(-radius, radius + 1):
            if row or column > 0:
                yield row, column, row**2 + column**2


def _significance(detail: Tensor) -> Tensor:
    """Return the traces of the covariance matrices of the columns and rows of each window."""
    margin = _SIDE // 2
    padded = pad(detail, (margin,) * 4, "mirror")
    column_sums, row_sums = (sliding_sums(padded, _SIDE, dim) for dim in (-2, -1))
    squares = sliding_sums(sliding_sums(padded.square(), _SIDE, -2), _SIDE, -1)
    columns = sliding_sums(column_sums.square(), _SIDE, -1)
    rows = sliding_sums(row_sums.square(), _SIDE, -2)
    traces = (2.0 * squares - (columns + rows) / _SIDE) / (_SIDE - 1)
    return torch.where(traces > 0.0, traces, _LEAST)


def build_cbf(
    parameters: CbfParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: cbf(
        sources,
        radius=parameters.radius,
        sigma_space=parameters.sigma_space,
        sigma_range=parameters.sigma_range,
    )
