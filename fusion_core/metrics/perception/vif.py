"""Visual information fidelity: VIF of both sources, and VIFF (Sheikh & Bovik 2006, Han 2013)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.windows import (
    Moments,
    gaussian_taps,
    row_bands,
    window_moments,
    window_sums,
)
from fusion_core.networks.devices import constant

_WINDOWS = (17, 9, 5, 3)
"""Side of the windows at each scale."""
_SMALLEST = 41
"""Side in pixels of the smallest image that has a window at every scale."""
_FLAT = 1e-10
_NOISE_OF_VIF = 2.0
_NOISE_OF_VIFF = 0.005 * 255.0**2
_FLOOR = 1e-7
_SCALE_WEIGHTS = (1.0 / 2.15, 0.0, 0.15 / 2.15, 1.0 / 2.15)
_MIDDLE = 128.0


def visual_information_fidelity(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the visual information fidelity of both sources (VIF).

    VIF = VIFp(A, F) + VIFp(B, F), where VIFp is the pixel-domain version of Sheikh & Bovik 2006,
    Eq. 7 (https://doi.org/10.1109/TIP.2005.859378): over four scales, the sum of log(1 + g**2
    var(X) / (e + 2)) over that of log(1 + var(X) / 2), with the gain g = cov(X, F) / var(X) and the
    rest e = var(F) - g cov(X, F) in Gaussian windows of 17, 9, 5 and 3 pixels. The constants, and
    the gain of 0 in flat windows and where the covariance is negative, are those of the authors'
    program.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0 and above without a unit, 2 for three equal images, float64: a scalar tensor, or `(B,)`
        for a batch. NaN below 41x41 pixels, and where a source is flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(48, 64, seed=1, colour=False)
        >>> round(visual_information_fidelity(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.256
    """
    return evaluate(score_vif, ir, vis, fused)


def visual_information_fidelity_for_fusion(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the visual information fidelity for fusion (VIFF).

    In each window, the source with the smaller gain counts, B where both are equal. VIFF = (V_1 +
    0.15 V_3 + V_4) / 2.15 of the four scales of `visual_information_fidelity`, V the sum of log10(1
    + g**2 var(X) / (e + s)) + 1e-7 over that of log10(1 + var(X) / s) + 1e-7, with s = 0.005 255**2
    (Han, Cai, Cao & Xu 2013, Eq. 12, https://doi.org/10.1016/j.inffus.2011.08.002). MEFB prints it
    as "VIF". The rule for equal gains makes it depend on the order of A and B in the third digit.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0 and above without a unit, 1 for three equal images, float64: a scalar tensor, or `(B,)`
        for a batch. NaN below 41x41 pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(48, 64, seed=1, colour=False)
        >>> fused = ir // 2 + vis // 2
        >>> round(visual_information_fidelity_for_fusion(ir, vis, fused).item(), 4)
        0.0148
    """
    return evaluate(score_viff, ir, vis, fused)


def score_vif(batch: ScoredBatch) -> Tensor:
    """Compute VIF of a batch, `(B,)`."""
    if min(batch.height, batch.width) < _SMALLEST:
        return batch.undefined()
    sums = batch.cached(_sum_scales).sum(dim=0)
    return sums[0] / sums[1] + sums[2] / sums[3]


def score_viff(batch: ScoredBatch) -> Tensor:
    """Compute VIFF of a batch, `(B,)`."""
    if min(batch.height, batch.width) < _SMALLEST:
        return batch.undefined()
    kept, present = batch.cached(_sum_scales)[:, 4:].unbind(dim=1)
    return constant(_SCALE_WEIGHTS, kept.device, kept.dtype) @ (kept / present)


def _sum_scales(batch: ScoredBatch) -> Tensor:
    """Sum over the windows of each scale: `(4, 6, B)`, see `_sum_windows`."""
    planes = batch.levels - _MIDDLE  # variances lose fewer digits
    sums = planes.new_zeros(len(_WINDOWS), 6, planes.shape[1])
    for scale, size in enumerate(_WINDOWS):
        taps = gaussian_taps(size, size / 5.0)
        if scale > 0:
            planes = window_sums(planes, taps, step=2)[..., ::2].contiguous()
        sums[scale] = _sum_information(planes, taps)
    return sums


def _sum_information(planes: Tensor, taps: Tensor) -> Tensor:
    """Sum logarithms over the windows of one scale: `(6, B)`, see `_sum_windows`."""
    windows = (planes.shape[-2] - len(taps) + 1) * (planes.shape[-1] - len(taps) + 1)
    if dispatch.use_kernels(planes):
        from fusion_core.metrics.perception.kernels import information_sums

        noise = (_NOISE_OF_VIF, _NOISE_OF_VIFF)
        found = dispatch.each_pair(
            information_sums, planes[:2], planes[2], taps.numpy(), _FLAT, *noise
        )
        sums = found.T.contiguous()
    else:
        bands = row_bands(planes, len(taps))
        sums = torch.stack([_sum_windows(window_moments(band, taps)) for band in bands]).sum(dim=0)
    sums[4:] += _FLOOR * windows * math.log2(10.0)
    return sums


class _Channel(NamedTuple):
    """What F receives of a source, in each window."""

    variance: Tensor
    """Variance of the source."""
    gain: Tensor
    signal: Tensor
    """Variance of the source in F."""
    rest: Tensor
    """Variance of F that the source does not explain."""


def _sum_windows(m: Moments) -> Tensor:
    """Sum logarithms to base 2 over windows: `(6, B)`.

    Information of A kept in F and present in A, that of B, and the two of VIFF.
    """
    a, b = (_channel(m.variance[n], m.variance[2], m.covariance[n]) for n in range(2))
    from_a = a.gain < b.gain
    weaker = _Channel(*(torch.where(from_a, x, y) for x, y in zip(a, b, strict=True)))
    rows = [
        *_information(a, _NOISE_OF_VIF),
        *_information(b, _NOISE_OF_VIF),
        *_information(weaker, _NOISE_OF_VIFF),
    ]
    return torch.stack([row.sum(dim=(1, 2)) for row in rows])


def _channel(variance: Tensor, variance_f: Tensor, covariance: Tensor) -> _Channel:
    flat = variance < _FLAT
    gain = covariance / (variance + _FLAT)
    gain.masked_fill_(flat | (variance_f < _FLAT), 0.0).clamp_min_(0.0)
    rest = torch.addcmul(variance_f, gain, covariance, value=-1.0).clamp_min_(_FLAT)
    variance = variance.masked_fill(flat, 0.0)
    return _Channel(variance, gain, gain * gain * variance, rest)


def _information(channel: _Channel, noise: float) -> tuple[Tensor, Tensor]:
    kept = (channel.signal / (channel.rest + noise)).add_(1.0).log2_()
    present = (channel.variance / noise).add_(1.0).log2_()
    return kept, present
