"""Structural similarity (Wang et al. 2004)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.compiled import dispatch
from fusion_core.metrics.structural.windows import gaussian_means, gaussian_taps, repeat_border

_C1, _C2 = 0.01**2, 0.03**2


def ssim_a(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean structural similarity to both sources (SSIM_a).

    SSIM_a = (SSIM(F, A) + SSIM(F, B)) / 2 (Li & Wu 2019, Eq. 8,
    https://doi.org/10.1109/TIP.2018.2887342), where SSIM is the mean of the map of Wang, Bovik,
    Sheikh & Simoncelli 2004, Eq. 13 (https://doi.org/10.1109/TIP.2003.819861): 11x11 Gaussian
    windows of sigma 1.5, K = (0.01, 0.03), L = 1. Unlike there, the border is repeated and the
    whole map is averaged, as in the published tables. The ResNet-152 paper prints the sum of both
    instead of their mean.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, 1 for three equal images, float64: a scalar tensor, or `(B,)` for a
        batch. It is always defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(ssim_a(ir, vis, fused=vis).item(), 4)
        0.368
    """
    return evaluate(score_ssim_a, ir, vis, fused)


def score_ssim_a(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_a of a batch, `(B,)`."""
    return ssim_with_both(batch.unit).mean(dim=0)


def ssim_with_both(images: Tensor) -> Tensor:
    """SSIM(F, A) and SSIM(F, B) (Wang et al. 2004).

    Gaussian window 11x11, sigma 1.5, border repeated, mean over the whole map, K = (0.01, 0.03).

    Args:
        images: A, B and F in 0..1: `(3, B, H, W)` float64.

    Returns:
        `(2, B)` float64, -1..1.
    """
    padded = repeat_border(images)
    if dispatch.use_kernels(padded):
        from fusion_core.metrics.structural.kernels import ssim_means

        return dispatch.each_pair(ssim_means, padded, gaussian_taps().numpy(), _C1, _C2).T
    a, b, f = padded
    mean_a, mean_b, mean_f = gaussian_means(padded)
    square_a, square_b, square_f = gaussian_means(padded * padded)
    product_a, product_b = gaussian_means(torch.stack((a * f, b * f)))
    first = _mean_ssim(mean_f, square_f, mean_a, square_a, product_a)
    second = _mean_ssim(mean_f, square_f, mean_b, square_b, product_b)
    return torch.stack((first, second))


def _mean_ssim(
    mean_x: Tensor, square_x: Tensor, mean_y: Tensor, square_y: Tensor, product: Tensor
) -> Tensor:
    """Mean SSIM from local moments, each `(B, H, W)`."""
    means = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    numerator = (2.0 * means + _C1) * (2.0 * (product - means) + _C2)
    denominator = (squares + _C1) * (square_x + square_y - squares + _C2)
    return (numerator / denominator).mean(dim=(1, 2))
