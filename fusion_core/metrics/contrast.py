"""Metrics of the fused image's own contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.covariances import covariances_of_levels


def standard_deviation(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the standard deviation of the fused image's gray levels (SD).

    SD = sqrt(mean((F - mean(F))**2)) over all pixels, the deviation of the population (Rao 1997,
    whom the literature cites for it, https://doi.org/10.1088/0957-0233/8/4/002). The sources have
    no influence.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Gray levels in 0..127.5, float64: a scalar tensor, or `(B,)` for a batch. It is always
        defined.

    Example:
        >>> import numpy as np
        >>> fused = np.array([[0, 255], [255, 0]], dtype=np.uint8)
        >>> standard_deviation(fused, fused, fused).item()
        127.5
    """
    return evaluate(score_standard_deviation, ir, vis, fused)


def score_standard_deviation(batch: ScoredBatch) -> Tensor:
    """Compute SD of a batch, `(B,)`."""
    if dispatch.use_kernels(batch.gray):
        pixels = batch.height * batch.width
        variances = [pair.ff / pixels**2 for pair in batch.cached(covariances_of_levels)]
        return torch.tensor(variances, dtype=torch.float64).sqrt()
    gray = batch.gray[2].flatten(1).to(torch.float64)
    # Two passes: the one of `torch.std` loses three digits on a whole picture.
    return (gray - gray.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
