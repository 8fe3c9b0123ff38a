"""Structural similarity (Wang et al. 2004)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.padding import padded_unit
from fusion_core.metrics.filters.windows import gaussian_taps, window_moments
from fusion_core.metrics.structural.windows import RADIUS, repeat_border

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
    sources, fused = (padded_unit(x, RADIUS, "replicate") for x in (batch.sources, batch.fused))
    return ssim_in_windows(sources, fused, _C1, _C2).mean(dim=0)


def ssim_with_both(images: Tensor) -> Tensor:
    """SSIM(F, A) and SSIM(F, B) (Wang et al. 2004).

    Gaussian window 11x11, sigma 1.5, border repeated, mean over the whole map, K = (0.01, 0.03).

    Args:
        images: A, B and F in 0..1: `(3, B, H, W)` float64.

    Returns:
        `(2, B)` float64, -1..1.
    """
    padded = repeat_border(images)
    return ssim_in_windows(padded[:2], padded[2], _C1, _C2)


def ssim_in_windows(sources: Tensor, fused: Tensor, c1: float, c2: float) -> Tensor:
    """Mean SSIM(F, A) and SSIM(F, B) over all 11x11 windows that fit.

    Args:
        sources: A and B: `(2, B, H, W)` float64, at least 11x11; the second dimension may be 1.
        fused: F: `(B, H, W)`.
        c1: Added to squares of means.
        c2: Added to variances.

    Returns:
        `(2, B)` float64, -1..1.
    """
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.structural.kernels import ssim_means

        taps = gaussian_taps().numpy()
        return dispatch.each_pair(ssim_means, sources, fused, taps, c1, c2).T
    planes = torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0)))
    m = window_moments(planes, gaussian_taps())
    maps = [m.similarity(source, c1, c2) for source in range(2)]
    return torch.stack([values.mean(dim=(1, 2)) for values in maps])
