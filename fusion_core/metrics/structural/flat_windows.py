"""Metrics of similarity without stabilizing constants (Yang et al. 2008, Cvejic et al. 2005).

With constants of 2e-16, the similarity of a flat window is that of its rounding noise. Variances
and covariances below 1e-9 count as 0 here: on gray levels, noise stays below 2e-11, and the
smallest variance of a window that is not flat is 1.3e-3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.windows import Moments, gaussian_taps, row_bands, window_moments

_WINDOW = 7
_C = 2e-16
_NOISE = 1e-9
_ALIKE = 0.75
"""Similarity of the sources above which both count."""


def yang(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute Yang's similarity metric (Qy).

    Qy is the mean over all windows of l S(A, F) + (1 - l) S(B, F), l = var(A) / (var(A) + var(B)),
    where the sources are alike, S(A, B) >= 0.75, and of max(S(A, F), S(B, F)) elsewhere (Yang,
    Zhang, Wang & Pei 2008, Eq. 9, https://doi.org/10.1016/j.inffus.2006.09.001). S is SSIM with
    constants of 2e-16 in 7x7 Gaussian windows of sigma 1.5 inside the image, as in the authors'
    program.

    Variances and covariances below 1e-9 count as 0, so that flat areas do not score noise.
    Windows in which both sources are flat have no l and do not count.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 7x7 pixels,
        and where no window counts.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(yang(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.4505
    """
    return evaluate(score_yang, ir, vis, fused)


def cvejic(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute Cvejic's similarity metric (Qc).

    Qc is the mean over all windows of s S(A, F) + (1 - s) S(B, F), where s = cov(A, F) / (cov(A, F)
    + cov(B, F)), clipped to 0..1, and S is that of `yang` (Cvejic, Loza, Bull & Canagarajah 2005,
    International Journal of Signal Processing 2 (3), 178-182). Windows without covariance do not
    count. Where the covariances cancel, the source with the positive one counts; what programs
    print there depends on rounding. MEFB clips the result instead of s, which makes it depend on
    the order of A and B.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 7x7 pixels,
        and where no window counts.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(cvejic(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.4384
    """
    return evaluate(score_cvejic, ir, vis, fused)


def score_yang(batch: ScoredBatch) -> Tensor:
    """Compute Qy of a batch, `(B,)`."""
    return batch.cached(_score_windows).yang


def score_cvejic(batch: ScoredBatch) -> Tensor:
    """Compute Qc of a batch, `(B,)`."""
    return batch.cached(_score_windows).cvejic


def score_cvejic_mefb(batch: ScoredBatch) -> Tensor:
    """Compute Qc of a batch, `(B,)`, with the result clipped instead of s."""
    return batch.cached(_score_windows).cvejic_mefb


class _Means(NamedTuple):
    """Means over windows of each pair: `(B,)`."""

    yang: Tensor
    cvejic: Tensor
    cvejic_mefb: Tensor


def _score_windows(batch: ScoredBatch) -> _Means:
    if min(batch.height, batch.width) < _WINDOW:
        return _Means(*(batch.undefined() for _ in range(3)))
    if dispatch.use_kernels(batch.gray):
        from fusion_core.metrics.structural.window_kernels import flat_window_sums

        taps = gaussian_taps(_WINDOW).numpy()
        found = dispatch.each_pair(
            flat_window_sums, batch.sources.levels, batch.fused.levels, taps, _C, _NOISE, _ALIKE
        )
        return _Means(*(found[:, (0, 1, 2)] / found[:, (3, 4, 4)]).unbind(dim=1))
    sums, counts = (torch.zeros_like(batch.undefined()).repeat(3, 1) for _ in range(2))
    for band in row_bands(batch.levels, _WINDOW):
        m = window_moments(band, gaussian_taps(_WINDOW), of_sources=True)
        _drop_noise(m.variance)
        _drop_noise(m.covariance)
        to_a, to_b = (m.similarity(source, _C, _C) for source in range(2))
        share = m.covariance[0] / _drop_noise(m.covariance[0] + m.covariance[1])
        mixed = (
            _mix(share, to_a, to_b).masked_fill_(share < 0.0, 0.0).masked_fill_(share > 1.0, 1.0)
        )
        values = (_yang(m, to_a, to_b), _mix(share.clamp(0.0, 1.0), to_a, to_b), mixed)
        for n, value in enumerate(values):
            sums[n] += value.nansum(dim=(1, 2))
            counts[n] += value.isfinite().sum(dim=(1, 2))
    return _Means(*(sums / counts))


def _yang(m: Moments, to_a: Tensor, to_b: Tensor) -> Tensor:
    between = m.similarity_of_sources(_C, _C)
    a, b, _ = m.variance
    both = _mix(a / (a + b), to_a, to_b)
    return torch.where(between >= _ALIKE, both, torch.maximum(to_a, to_b))


def _mix(share: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.addcmul(y, share, x - y)


def _drop_noise(values: Tensor) -> Tensor:
    return values.masked_fill_(values.abs() < _NOISE, 0.0)
