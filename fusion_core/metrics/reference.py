"""Metrics of the fused image against a reference image, where the ideal result is known.

Each is the metric of `ScoredBatch.against_reference`, whose sources are both the reference: a mean
over the sources is then the value against the reference, and a sum is twice that.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fusion_core.metrics.base import ScoredBatch
from fusion_core.metrics.error import (
    score_mean_squared_error,
    score_peak_signal_to_noise_ratio,
)
from fusion_core.metrics.perception.vif import score_vif
from fusion_core.metrics.structural.ssim import score_ssim_a


def score_ssim_ref(batch: ScoredBatch) -> Tensor:
    """Compute SSIM_ref of a batch, `(B,)`, NaN without a reference."""
    return _against_reference(batch, score_ssim_a)


def score_psnr_ref(batch: ScoredBatch) -> Tensor:
    """Compute PSNR_ref of a batch, `(B,)`, NaN without a reference."""
    return _against_reference(batch, score_peak_signal_to_noise_ratio)


def score_mse_ref(batch: ScoredBatch) -> Tensor:
    """Compute MSE_ref of a batch, `(B,)`, NaN without a reference."""
    return _against_reference(batch, score_mean_squared_error)


def score_vif_ref(batch: ScoredBatch) -> Tensor:
    """Compute VIF_ref of a batch, `(B,)`, NaN without a reference."""
    return 0.5 * _against_reference(batch, score_vif)


def _against_reference(batch: ScoredBatch, score: Callable[[ScoredBatch], Tensor]) -> Tensor:
    compared = batch.against_reference
    return batch.undefined() if compared is None else score(compared)
