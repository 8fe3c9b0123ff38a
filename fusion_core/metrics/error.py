"""Metrics of the error of the fused image against its sources."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.covariances import level_sums

_WHITE = 255.0


def mean_squared_error(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean squared error against both sources (MSE).

    MSE is the mean over both sources X of mean((X - F)**2) on 0..1 (Jagalingam & Hegde 2015,
    https://doi.org/10.1016/j.aqpro.2015.02.019).

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, lower is better, float64: a scalar tensor, or `(B,)` for a batch. It is
        always defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(mean_squared_error(ir, vis, fused=vis).item(), 4)
        0.0797
    """
    return evaluate(score_mean_squared_error, ir, vis, fused)


def root_mean_squared_error(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the root mean squared error against both sources (RMSE).

    RMSE is the mean over both sources X of sqrt(mean((X - F)**2)) on 0..255 (Jagalingam & Hegde
    2015, https://doi.org/10.1016/j.aqpro.2015.02.019). VIFB prints it divided by the root of the
    number of pixels.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Gray levels in 0..255, lower is better, float64: a scalar tensor, or `(B,)` for a batch. It
        is always defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(root_mean_squared_error(ir, vis, fused=vis).item(), 4)
        50.8987
    """
    return evaluate(score_root_mean_squared_error, ir, vis, fused)


def peak_signal_to_noise_ratio(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the peak signal-to-noise ratio against both sources (PSNR).

    PSNR = 10 log10(255**2 / e), where e is the mean over both sources X of mean((X - F)**2) on
    0..255 (Jagalingam & Hegde 2015, https://doi.org/10.1016/j.aqpro.2015.02.019). A value above 50
    in a paper is of one of the dialects.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Decibels, float64: a scalar tensor, or `(B,)` for a batch. Infinite for three equal images.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(peak_signal_to_noise_ratio(ir, vis, fused=vis).item(), 4)
        10.9864
    """
    return evaluate(score_peak_signal_to_noise_ratio, ir, vis, fused)


def score_mean_squared_error(batch: ScoredBatch) -> Tensor:
    """Compute MSE of a batch, `(B,)`."""
    return score_mean_squared_error_of_levels(batch) / (_WHITE * _WHITE)


def score_mean_squared_error_of_levels(batch: ScoredBatch) -> Tensor:
    """Compute MSE on 0..255 of a batch, `(B,)`."""
    return batch.cached(_squared_errors).mean(dim=0)


def score_root_mean_squared_error(batch: ScoredBatch) -> Tensor:
    """Compute RMSE of a batch, `(B,)`."""
    return batch.cached(_squared_errors).sqrt().mean(dim=0)


def score_root_mean_squared_error_vifb(batch: ScoredBatch) -> Tensor:
    """Compute RMSE of a batch, `(B,)`, over the root of the number of pixels."""
    return score_root_mean_squared_error(batch) / math.sqrt(batch.height * batch.width)


def score_peak_signal_to_noise_ratio(batch: ScoredBatch) -> Tensor:
    """Compute PSNR of a batch, `(B,)`."""
    return _decibels(_WHITE**2 / score_mean_squared_error_of_levels(batch))


def score_peak_signal_to_noise_ratio_vifb(batch: ScoredBatch) -> Tensor:
    """Compute PSNR of a batch, `(B,)`, from VIFB's RMSE instead of a squared error."""
    return _decibels(_WHITE**2 / score_root_mean_squared_error_vifb(batch))


def score_peak_signal_to_noise_ratio_tang(batch: ScoredBatch) -> Tensor:
    """Compute PSNR of a batch, `(B,)`, with images in 0..1 and a peak of 255."""
    return _decibels(_WHITE**2 / score_mean_squared_error(batch))


def score_peak_signal_to_noise_ratio_cddfuse(batch: ScoredBatch) -> Tensor:
    """Compute PSNR of a batch, `(B,)`, with the brightest level of F as peak.

    NaN for a black F.
    """
    peak = batch.gray[2].flatten(1).amax(dim=1).to(torch.float64)
    ratio = peak * peak / score_mean_squared_error_of_levels(batch)
    return _decibels(ratio.masked_fill_(peak == 0.0, torch.nan))


def _squared_errors(batch: ScoredBatch) -> Tensor:
    """Compute the mean squared error of F against A and against B on 0..255: `(2, B)`."""
    if dispatch.use_kernels(batch.gray):
        squares = [
            (aa + ff - 2 * af, bb + ff - 2 * bf)
            for _, _, _, aa, bb, ff, af, bf, _ in batch.cached(level_sums)
        ]
        return torch.tensor(squares, dtype=torch.float64).T / (batch.height * batch.width)
    difference = batch.levels[:2] - batch.levels[2]
    return difference.square_().mean(dim=(2, 3))


def _decibels(ratio: Tensor) -> Tensor:
    return 10.0 * ratio.log10()
