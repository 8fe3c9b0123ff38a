"""Metrics of the mutual information of gray levels."""

from __future__ import annotations

from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import entropies, shared_information


def mutual_information(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mutual information of the fused image with both sources (MI).

    MI = I(A;F) + I(B;F) from joint histograms of 256 x 256 gray levels (Qu, Zhang & Yan 2002,
    https://doi.org/10.1049/el:20020212). Several papers print twice the entropy under this name;
    see `mutual_information_as_published`.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Bits in 0..16, float64: a scalar tensor, or `(B,)` for a batch. It is always defined.

    Example:
        >>> import numpy as np
        >>> ir = np.arange(16, dtype=np.uint8).reshape(4, 4)
        >>> vis = np.zeros((4, 4), dtype=np.uint8)
        >>> mutual_information(ir, vis, fused=ir).item()
        4.0
    """
    return evaluate(score_mutual_information, ir, vis, fused)


def mutual_information_as_published(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute what several papers print as mutual information: 2 EN (MI_as_published).

    The authors' program hands matrices to a routine for vectors, so that the joint entropies
    cancel (Song et al. 2021, Table II, https://arxiv.org/abs/2112.14540). The metric serves only
    to compare with such tables.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Bits in 0..16, float64: a scalar tensor, or `(B,)` for a batch. It is always defined.

    Example:
        >>> import numpy as np
        >>> fused = np.arange(256, dtype=np.uint8).reshape(16, 16)
        >>> mutual_information_as_published(fused, fused, fused).item()
        16.0
    """
    return evaluate(score_mutual_information_as_published, ir, vis, fused)


def score_mutual_information(batch: ScoredBatch) -> Tensor:
    """Compute MI of a batch, `(B,)`."""
    return batch.cached(shared_information).sum(dim=0)


def score_mutual_information_as_published(batch: ScoredBatch) -> Tensor:
    """Compute MI_as_published of a batch, `(B,)`."""
    return 2.0 * batch.cached(entropies)[2]
