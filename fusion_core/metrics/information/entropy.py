"""Metrics of the entropy of gray levels."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import entropies, level_shares


def entropy(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the Shannon entropy of the fused image's gray levels (EN).

    EN = -sum p log2 p over the 256 gray levels of F (Roberts, van Aardt & Ahmed 2008,
    https://doi.org/10.1117/1.2945910). The sources have no influence.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Bits in 0..8, float64: a scalar tensor, or `(B,)` for a batch. It is always defined.

    Example:
        >>> import numpy as np
        >>> fused = np.arange(256, dtype=np.uint8).reshape(16, 16)
        >>> entropy(fused, fused, fused).item()
        8.0
    """
    return evaluate(score_entropy, ir, vis, fused)


def cross_entropy(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean cross entropy of both sources and the fused image (CE).

    CE is the mean over both sources X of sum p_X log2(p_X / p_F) over the gray levels that occur in
    both X and F (Bulanon, Burks & Alchanatis 2009,
    https://doi.org/10.1016/j.biosystemseng.2009.02.009, as VIFB's program computes it). Because of
    the levels left out, it is no divergence: it can be slightly negative, and it is 0 if X and F
    have no level in common.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Bits, about -0.5 and above, lower is better, float64: a scalar tensor, or `(B,)` for a
        batch. It is always defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(cross_entropy(ir, vis, fused=vis).item(), 4)
        1.0622
    """
    return evaluate(score_cross_entropy, ir, vis, fused)


def score_entropy(batch: ScoredBatch) -> Tensor:
    """Compute EN of a batch, `(B,)`."""
    return batch.fused.cached(entropies)


def score_cross_entropy(batch: ScoredBatch) -> Tensor:
    """Compute CE of a batch, `(B,)`."""
    sources, fused = batch.sources.cached(level_shares), batch.fused.cached(level_shares)
    shared = (sources > 0.0) & (fused > 0.0)
    ratio = torch.where(shared, sources / fused, 1.0)
    return (sources * ratio.log2()).sum(dim=2).mean(dim=0)
