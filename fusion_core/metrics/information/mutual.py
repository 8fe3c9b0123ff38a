"""Metrics of the mutual information of gray levels."""

from __future__ import annotations

import math

from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import (
    entropies,
    entropy_sums,
    joint_shares,
    shannon_entropy,
    shared_information,
)


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


def normalized_mutual_information(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the normalized mutual information with both sources (NMI).

    NMI = 2 (I(A;F) / (H(A) + H(F)) + I(B;F) / (H(B) + H(F))) (Hossny, Nahavandi & Creighton 2008,
    https://doi.org/10.1049/el:20081754), which is also called Q_MI.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..2 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where F and a
        source are flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(normalized_mutual_information(ir, vis, fused=vis).item(), 4)
        1.5427
    """
    return evaluate(score_normalized_mutual_information, ir, vis, fused)


def score_mutual_information(batch: ScoredBatch) -> Tensor:
    """Compute MI of a batch, `(B,)`."""
    return batch.cached(shared_information).sum(dim=0)


def score_mutual_information_as_published(batch: ScoredBatch) -> Tensor:
    """Compute MI_as_published of a batch, `(B,)`."""
    return 2.0 * batch.fused.cached(entropies)


def score_mutual_information_in_nats(batch: ScoredBatch) -> Tensor:
    """Compute MI in nats of a batch, `(B,)`.

    VIFB stretches the images to 0..255 first, which only renames gray levels: no two of them become
    one, and mutual information stays the same.
    """
    return score_mutual_information(batch) * math.log(2.0)


def score_mutual_information_tang(batch: ScoredBatch) -> Tensor:
    """Compute MI of a batch, `(B,)`, with levels 254 and 255 in one bin of the joint histograms."""
    joint = batch.cached(joint_shares).clone()
    joint[..., -2, :] += joint[..., -1, :]
    joint[..., -2] += joint[..., -1]
    entropy = shannon_entropy(joint[..., :-1, :-1].flatten(2))
    return (batch.cached(entropy_sums) - entropy).sum(dim=0)


def score_normalized_mutual_information(batch: ScoredBatch) -> Tensor:
    """Compute NMI of a batch, `(B,)`."""
    return 2.0 * (batch.cached(shared_information) / batch.cached(entropy_sums)).sum(dim=0)


def score_normalized_mutual_information_zoo(batch: ScoredBatch) -> Tensor:
    """Compute NMI of a batch, `(B,)`, with the entropies of the sources alone."""
    return 2.0 * score_mutual_information(batch) / batch.sources.cached(entropies).sum(dim=0)
