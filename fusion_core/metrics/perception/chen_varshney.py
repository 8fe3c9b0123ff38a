"""Qcv, the visible difference of a fused image from the salient regions of its sources."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.base import Image, ScoredBatch, Sources, evaluate
from fusion_core.metrics.edges.neighbours import gradients
from fusion_core.metrics.filters.frequency import (
    filter_spectra,
    radial_frequencies,
    stretched_levels,
    stretched_spectra,
)

_BLOCK = 16


def chen_varshney(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the visible difference of F from the salient regions of its sources (Qcv).

    Qcv = sum(l_A d_A + l_B d_B) / sum(l_A + l_B) over blocks of 16x16 pixels, the last ones filled
    with zeros, where l_X is the sum of the fifth powers of X's Sobel gradient, with zeros outside
    the image, and d_X the mean square of the difference X - F as humans see it (Chen & Varshney
    2007, Section 3, https://doi.org/10.1016/j.inffus.2005.10.001). Images are stretched to 0..255,
    and the difference is filtered by the contrast sensitivity 2.6 (0.0192 + 0.144 r) exp(-(0.144
    r)**1.1) at 4 r cycles per picture, with periodic borders.

    The saliency l_X spans 15 decades, so that few blocks decide the value.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0 and above without a unit, lower is better, float64: a scalar tensor, or `(B,)` for a
        batch. NaN where neither source has an edge.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(chen_varshney(ir, vis, fused=ir // 2 + vis // 2).item(), 2)
        393.92
    """
    return evaluate(score_chen_varshney, ir, vis, fused)


def score_chen_varshney(batch: ScoredBatch) -> Tensor:
    """Compute Qcv of a batch, `(B,)`."""
    sensitivity = _sensitivity(batch.height, batch.width, batch.gray.device)
    differences = batch.sources.cached(stretched_spectra) - batch.fused.cached(stretched_spectra)
    seen = filter_spectra(batch, differences, sensitivity)
    difference = _sum_blocks(seen.mul_(seen)).div_(_BLOCK * _BLOCK)
    saliency = batch.sources.cached(_saliency)
    total: Tensor = (saliency * difference).sum(dim=(0, 2, 3))
    return total / saliency.sum(dim=(0, 2, 3))


@functools.lru_cache(maxsize=2)
def _sensitivity(height: int, width: int, device: torch.device) -> Tensor:
    r = radial_frequencies(height, width, device) * (0.144 / 4.0)
    return 2.6 * (0.0192 + r) * torch.exp(-(r**1.1))


def _saliency(sources: Sources) -> Tensor:
    """Sum the fifth powers of the Sobel gradients of A and B in each block: `(2, B, …)`."""
    planes = sources.cached(stretched_levels)
    across, down = gradients(functional.pad(planes, (1, 1, 1, 1)), middle=2.0)
    squares = across.square_().addcmul_(down, down)
    return _sum_blocks(squares.sqrt().mul_(squares).mul_(squares))


def _sum_blocks(planes: Tensor) -> Tensor:
    """Sum `(2, B, H, W)` over blocks of 16x16 pixels, with zeros beyond the image."""
    height, width = planes.shape[-2:]
    padded = functional.pad(planes, (0, -width % _BLOCK, 0, -height % _BLOCK))
    rows, columns = padded.shape[2] // _BLOCK, padded.shape[3] // _BLOCK
    return padded.reshape(*padded.shape[:2], rows, _BLOCK, columns, _BLOCK).sum(dim=(3, 5))
