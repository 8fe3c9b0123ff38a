"""Metrics of structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.base import Metric, check_images, to_double

_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim_a(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Mean of SSIM(F, A) and SSIM(F, B) (Wang et al. 2004; DenseFuse Eq. 8).

    Gaussian window 11x11, sigma 1.5, border repeated, mean over the whole map, K = (0.01, 0.03),
    images in 0..1.

    Args:
        ir: A, `(B, 1, H, W)` uint8.
        vis: B, `(B, 1, H, W)` uint8.
        fused: F, `(B, 1, H, W)` uint8.

    Returns:
        `(B,)` float64, -1..1, 1 for three equal images.

    Raises:
        InvalidValueError: The three are not uint8 of one shape.

    The ResNet-152 paper prints the sum of the two instead of their mean.
    """
    check_images(ir, vis, fused)
    a, b, f = (to_double(image) for image in (ir, vis, fused))
    mean_f, square_f = _smooth(f), _smooth(f * f)
    total = sum(
        _ssim(f, source, mean_f, square_f - mean_f * mean_f).mean(dim=(1, 2, 3))
        for source in (a, b)
    )
    return 0.5 * torch.as_tensor(total)


def _ssim(f: Tensor, source: Tensor, mean_f: Tensor, variance_f: Tensor) -> Tensor:
    """SSIM map of two images `(B, 1, H, W)`, given the first one's local moments."""
    mean_s = _smooth(source)
    variance_s = _smooth(source * source) - mean_s * mean_s
    covariance = _smooth(f * source) - mean_f * mean_s
    numerator = (2.0 * mean_f * mean_s + _C1) * (2.0 * covariance + _C2)
    return numerator / ((mean_f**2 + mean_s**2 + _C1) * (variance_f + variance_s + _C2))


def _smooth(image: Tensor) -> Tensor:
    """Filter `(B, 1, H, W)` with the Gaussian window, border repeated, rows then columns."""
    offsets = torch.arange(_RADIUS + 1, dtype=torch.float64)
    half = torch.exp(-(offsets**2) / (2.0 * _SIGMA**2))
    taps = (half / (half.sum() * 2.0 - half[0])).tolist()
    padded = functional.pad(image, (_RADIUS,) * 4, mode="replicate")
    return _filter(_filter(padded, taps, dim=2), taps, dim=3)


def _filter(padded: Tensor, taps: list[float], dim: int) -> Tensor:
    """Apply a symmetric filter, given from its centre outwards, along one padded dimension."""
    length = padded.shape[dim] - 2 * _RADIUS
    result = padded.narrow(dim, _RADIUS, length) * taps[0]
    for offset in range(1, _RADIUS + 1):
        before = padded.narrow(dim, _RADIUS - offset, length)
        after = padded.narrow(dim, _RADIUS + offset, length)
        result.add_(before + after, alpha=taps[offset])
    return result


SSIM_A = Metric(
    name="SSIM_a",
    title="Mean structural similarity to both sources",
    compute=ssim_a,
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper="Wang et al. 2004; Li & Wu, DenseFuse, Eq. 8",
)
