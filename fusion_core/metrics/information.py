"""Metrics from information theory: entropy and mutual information of gray levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.compiled import dispatch

_LEVELS = 256


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


def score_entropy(batch: ScoredBatch) -> Tensor:
    """Compute EN of a batch, `(B,)`."""
    return batch.cached(_fused_entropy)


def score_mutual_information(batch: ScoredBatch) -> Tensor:
    """Compute MI of a batch, `(B,)`."""
    total = 2.0 * batch.cached(_fused_entropy)
    for source in batch.gray[:2]:
        joint = _histogram(source.int() * _LEVELS + batch.gray[2].int(), _LEVELS * _LEVELS)
        joint = joint.unflatten(1, (_LEVELS, _LEVELS))
        total = total + _entropy(joint.sum(dim=2)) - _entropy(joint.flatten(1))
    return total.clamp_min(0.0)  # the sum of entropies may end an ulp below


def score_mutual_information_as_published(batch: ScoredBatch) -> Tensor:
    """Compute MI_as_published of a batch, `(B,)`."""
    return 2.0 * batch.cached(_fused_entropy)


def _fused_entropy(batch: ScoredBatch) -> Tensor:
    return _entropy(_histogram(batch.gray[2].int(), _LEVELS))


def _histogram(values: Tensor, bins: int) -> Tensor:
    """Count the integers below `bins` in each image of `(B, H, W)`: `(B, bins)` float64."""
    rows = values.flatten(1)
    if dispatch.use_kernels(values):
        counts = torch.stack([torch.bincount(row, minlength=bins) for row in rows])
    else:  # bincount would make the host wait for the largest value
        counts = torch.zeros(len(rows), bins, dtype=torch.int64, device=values.device)
        counts.scatter_add_(1, rows.long(), torch.ones_like(rows, dtype=torch.int64))
    return counts.to(torch.float64)


def _entropy(histogram: Tensor) -> Tensor:
    """Compute the Shannon entropy in bits of `(B, bins)` counts."""
    p = histogram / histogram.sum(dim=1, keepdim=True)
    nats: Tensor = torch.special.xlogy(p, p).sum(dim=1)
    return 0.0 - nats / math.log(2.0)  # not `-nats`: one full bin gives 0 and not -0
