"""MEF-SSIM, structural similarity for multi-exposure fusion (Ma, Zeng & Wang 2015)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.windows import gaussian_taps
from fusion_core.metrics.structural.windows import WINDOW, box_sums, gaussian_means

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)
_PIXELS = WINDOW * WINDOW
_C = (0.03 * 255.0) ** 2
_ENERGY_FLOOR = 0.001
_LARGEST_POWER = 10.0
_CANCELLED = 1e-12
"""A squared norm below this share of its terms is rounding noise; the reference block is then 0."""
_EPS = torch.finfo(torch.float64).eps


def mef_ssim(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute MEF-SSIM over three scales, the MS_SSIM of the papers' tables (MS_SSIM).

    MS_SSIM is the product over three scales s of Q_s to the power of w_s, w = (0.0448, 0.2856,
    0.3001) / sum. Q_s is the mean over all 11x11 windows of (2 cov(R, F) + C) / (var(R) + var(F) +
    C), C = (0.03 * 255)**2, under a Gaussian of sigma 1.5, where R is the block that has the
    structure and contrast wanted of the fusion of A's and B's blocks (Ma, Zeng & Wang 2015,
    https://doi.org/10.1109/TIP.2015.2442920).

    This is what the papers print as MS_SSIM; it is not the multi-scale SSIM of Wang, Simoncelli &
    Bovik. Blocks R whose terms cancel up to rounding count as zero.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 41x41
        pixels, where no window fits at the coarsest scale, and where the mean quality of a scale is
        negative and has no real power.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(48, 64, seed=1, colour=False)
        >>> round(mef_ssim(ir, vis, fused=vis).item(), 4)
        0.3905
    """
    return evaluate(score_mef_ssim, ir, vis, fused)


def score_mef_ssim(batch: ScoredBatch) -> Tensor:
    """Compute MS_SSIM of a batch, `(B,)`."""
    if min(_halve_length(batch.height, 2), _halve_length(batch.width, 2)) < WINDOW:
        return batch.undefined()
    planes = batch.gray.to(torch.float64)
    total = math.fsum(_SCALE_WEIGHTS)
    result = batch.undefined().fill_(1.0)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale > 0:
            planes = _halve(planes)
        result *= _mean_quality(planes).pow(weight / total)
    return result


def _mean_quality(planes: Tensor) -> Tensor:
    """Mean over all windows of the similarity of F with the reference block: `(B,)`."""
    if dispatch.use_kernels(planes):
        from fusion_core.metrics.structural.kernels import mef_quality

        taps = gaussian_taps().numpy()
        return dispatch.each_pair(
            mef_quality, planes[:2], planes[2], taps, _ENERGY_FLOOR, _CANCELLED, _C
        )
    a, b, f = planes
    weight_a, weight_b = _reference_weights(a, b)
    means = gaussian_means(planes)
    mean_a, mean_b, mean_f = means
    squares = gaussian_means(planes * planes) - means * means
    variance_a, variance_b, variance_f = squares
    products = gaussian_means(torch.stack((a * b, a * f, b * f)))
    covariance_ab = products[0] - mean_a * mean_b
    covariance_f = weight_a * (products[1] - mean_a * mean_f)
    covariance_f += weight_b * (products[2] - mean_b * mean_f)
    variance_r = weight_a * weight_a * variance_a + weight_b * weight_b * variance_b
    variance_r += 2.0 * weight_a * weight_b * covariance_ab
    quality: Tensor = (2.0 * covariance_f + _C) / (variance_r + variance_f + _C)
    return quality.mean(dim=(1, 2))


def _reference_weights(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Write the reference block of each window as `x * (A - mean) + y * (B - mean)`: x and y."""
    sum_a, sum_b, square_a, square_b, product = box_sums(torch.stack((a, b, a * a, b * b, a * b)))
    # Exact before the division: levels are multiples of 1/16 at every scale.
    norm2_a = _PIXELS * square_a - sum_a * sum_a
    norm2_b = _PIXELS * square_b - sum_b * sum_b
    dot = _PIXELS * product - sum_a * sum_b
    norm_of_sum = ((norm2_a + norm2_b + 2.0 * dot) / _PIXELS).sqrt_()
    norm2_a, norm2_b, dot = norm2_a / _PIXELS, norm2_b / _PIXELS, dot / _PIXELS
    norm_a, norm_b = norm2_a.sqrt(), norm2_b.sqrt()
    consistency = (norm_of_sum + _EPS) / (norm_a + norm_b + _EPS)
    power = torch.tan(math.pi / 2.0 * consistency.clamp_max_(1.0 - _EPS)).clamp_max_(_LARGEST_POWER)
    energy_a, energy_b = norm_a + _ENERGY_FLOOR, norm_b + _ENERGY_FLOOR
    weight_a = (energy_a / WINDOW).pow(power) + _EPS
    weight_b = (energy_b / WINDOW).pow(power) + _EPS
    total = weight_a + weight_b
    weight_a, weight_b = weight_a / (total * energy_a), weight_b / (total * energy_b)
    terms = weight_a * weight_a * norm2_a + weight_b * weight_b * norm2_b
    norm2 = terms + 2.0 * weight_a * weight_b * dot
    norm = torch.where(norm2 > _CANCELLED * terms, norm2, torch.inf).sqrt_()
    scale = torch.maximum(energy_a, energy_b) / norm
    return weight_a * scale, weight_b * scale


def _halve(planes: Tensor) -> Tensor:
    """Average each 2x2 block, the last row or column repeated at odd sizes."""
    height, width = planes.shape[-2:]
    if height % 2 or width % 2:
        planes = functional.pad(planes, (0, width % 2, 0, height % 2), mode="replicate")
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _halve_length(length: int, times: int) -> int:
    return math.ceil(length / (1 << times))
