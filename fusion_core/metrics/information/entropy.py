"""Metrics of the entropy of gray levels."""

from __future__ import annotations

from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import entropies


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


def score_entropy(batch: ScoredBatch) -> Tensor:
    """Compute EN of a batch, `(B,)`."""
    return batch.cached(entropies)[2]
