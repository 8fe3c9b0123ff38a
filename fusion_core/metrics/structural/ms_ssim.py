"""Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.windows import (
    gaussian_taps,
    row_bands,
    window_moments,
)
from fusion_core.metrics.structural.ssim import ssim_in_windows
from fusion_core.metrics.structural.windows import WINDOW

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LARGEST_TOO_SMALL = 160
"""Side in pixels of the largest image that has no window at the coarsest scale."""
_K1, _K2 = 0.01, 0.03


def multi_scale_ssim(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean multi-scale structural similarity to both sources (MS_SSIM_wang).

    MS_SSIM_wang is the mean over both sources X of the product over five scales s of the mean of (2
    cov(F, X) + C2) / (var(F) + var(X) + C2) to the power of w_s, w = (0.0448, 0.2856, 0.3001,
    0.2363, 0.1333), with SSIM instead at the last scale (Wang, Simoncelli & Bovik 2003, Eq. 7,
    https://doi.org/10.1109/ACSSC.2003.1292216). Windows are 11x11 Gaussians of sigma 1.5 inside the
    image, K = (0.01, 0.03), and negative means count as 0. Between scales, 2x2 blocks are averaged,
    with a row or column of zeros before the first one at odd sizes, as pytorch-msssim does.

    The column MS_SSIM is another metric: see `mef_ssim`.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 161x161
        pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(161, 170, seed=1, colour=False)
        >>> round(multi_scale_ssim(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.2904
    """
    return evaluate(score_multi_scale_ssim, ir, vis, fused)


def score_multi_scale_ssim(batch: ScoredBatch) -> Tensor:
    """Compute MS_SSIM_wang of a batch, `(B,)`."""
    return _multi_scale(batch, 255.0).mean(dim=0)


def score_multi_scale_ssim_zoo(batch: ScoredBatch) -> Tensor:
    """Compute MS_SSIM_zoo of a batch, `(B,)`: the sum, with constants for images in 0..1."""
    return _multi_scale(batch, 1.0).sum(dim=0)


def _multi_scale(batch: ScoredBatch, dynamic_range: float) -> Tensor:
    """Compute the multi-scale SSIM of F with A and of F with B: `(2, B)`."""
    if min(batch.height, batch.width) <= _LARGEST_TOO_SMALL:
        return batch.undefined().repeat(2, 1)
    c1, c2 = (_K1 * dynamic_range) ** 2, (_K2 * dynamic_range) ** 2
    planes, last = batch.levels, len(_SCALE_WEIGHTS) - 1
    result = torch.ones_like(batch.undefined()).repeat(2, 1)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        mean = (
            _mean_structure(planes, c2)
            if scale < last
            else ssim_in_windows(planes[:2], planes[2], c1, c2)
        )
        result *= mean.clamp_min_(0.0).pow_(weight)
        planes = _halve(planes)
    return result


def _mean_structure(planes: Tensor, c2: float) -> Tensor:
    """Average contrast and structure of F with A and with B, without the luminance: `(2, B)`."""
    if dispatch.use_kernels(planes):
        from fusion_core.metrics.structural.window_kernels import structure_sums

        taps = gaussian_taps().numpy()
        sums = dispatch.each_pair(structure_sums, planes[:2], planes[2], taps, c2)
        return sums.T / _windows(planes)
    total = planes.new_zeros(2, planes.shape[1])
    for band in row_bands(planes, WINDOW):
        m = window_moments(band, gaussian_taps())
        structure = m.covariance.mul(2.0).add_(c2).div_((m.variance[:2] + m.variance[2]).add_(c2))
        total += structure.sum(dim=(2, 3))
    return total / _windows(planes)


def _windows(planes: Tensor) -> int:
    return (planes.shape[-2] - WINDOW + 1) * (planes.shape[-1] - WINDOW + 1)


def _halve(planes: Tensor) -> Tensor:
    """Average 2x2 blocks, with zeros before the first row or column at odd sizes."""
    height, width = planes.shape[-2:]
    padded = functional.pad(planes, (width % 2, 0, height % 2, 0))
    return functional.avg_pool2d(padded, 2)
