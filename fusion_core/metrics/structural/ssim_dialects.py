"""Structural similarity to both sources as published programs compute it, on 0..255."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import ScoredBatch
from fusion_core.metrics.filters.windows import Moments, row_bands, window_sums
from fusion_core.metrics.structural.ssim import ssim_in_windows
from fusion_core.metrics.structural.windows import WINDOW, repeat_border

_K1, _K2 = 0.01, 0.03
_BOX = 7


def score_ssim_vifb(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_vifb of a batch, `(B,)`: the sum, in windows inside the image."""
    return _sum_inside(batch, 255.0)


def score_ssim_zoo(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_zoo of a batch, `(B,)`: as SSIM_vifb, with constants for images in 0..1."""
    return _sum_inside(batch, 1.0)


def score_ssim_tang(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_tang of a batch, `(B,)`: as SSIM_a, with constants for images in 0..1."""
    padded = repeat_border(batch.levels)
    return ssim_in_windows(padded[:2], padded[2], *_constants(1.0)).mean(dim=0)


def score_ssim_cddfuse(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_cddfuse of a batch, `(B,)`.

    The sum, in boxes of 7x7 pixels inside the image, with unbiased variances and constants for
    images in -1..1.
    """
    if min(batch.height, batch.width) < _BOX:
        return batch.undefined()
    c1, c2 = _constants(2.0)
    total = torch.zeros_like(batch.undefined())
    for band in row_bands(batch.levels, _BOX):
        m = _box_moments(band)
        total += sum(m.similarity(source, c1, c2).sum(dim=(1, 2)) for source in range(2))
    return total / ((batch.height - _BOX + 1) * (batch.width - _BOX + 1))


def _sum_inside(batch: ScoredBatch, dynamic_range: float) -> Tensor:
    if min(batch.height, batch.width) < WINDOW:
        return batch.undefined()
    constants = _constants(dynamic_range)
    return ssim_in_windows(batch.sources.levels, batch.fused.levels, *constants).sum(dim=0)


def _constants(dynamic_range: float) -> tuple[float, float]:
    return (_K1 * dynamic_range) ** 2, (_K2 * dynamic_range) ** 2


def _box_moments(images: Tensor) -> Moments:
    """Compute means and unbiased variances in boxes; sums of whole numbers are exact."""
    a, b, f = images
    pixels = _BOX * _BOX
    products = torch.stack((a * a, b * b, f * f, a * f, b * f))
    sums = window_sums(torch.cat((images, products)), torch.ones(_BOX, dtype=torch.float64))
    a, b, f = sums[:3]
    squares = torch.stack((a * a, b * b, f * f, a * f, b * f))
    spreads = (sums[3:] * pixels - squares) / (pixels * (pixels - 1))
    return Moments(sums[:3] / pixels, spreads[:3], spreads[3:])
