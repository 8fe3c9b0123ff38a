"""Nonlinear correlation of the sources and the fused image, by their mutual information."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import information_of_sources, shared_information

_BITS = 8.0
"""Entropy of 256 levels that are equally frequent."""


def nonlinear_correlation_information_entropy(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the nonlinear correlation information entropy (Qncie).

    Qncie = 1 + sum (l / 3) log256(l / 3) over the eigenvalues l > 0 of the 3x3 matrix of I(X;Y) / 8
    between A, B and F, in bits, with ones on its diagonal (Wang, Shen & Jin 2008,
    https://doi.org/10.1016/B978-0-12-372529-5.00017-2). The values lie close together, so show at
    least four digits.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0.8..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. It is always
        defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(nonlinear_correlation_information_entropy(ir, vis, fused=vis).item(), 4)
        0.868
    """
    return evaluate(score_nonlinear_correlation, ir, vis, fused)


def score_nonlinear_correlation(batch: ScoredBatch) -> Tensor:
    """Compute Qncie of a batch, `(B,)`."""
    with_fused = batch.cached(shared_information)
    between = batch.sources.cached(information_of_sources)
    matrix = torch.eye(3, dtype=between.dtype, device=between.device)
    matrix = matrix.repeat(with_fused.shape[1], 1, 1)
    for (row, column), bits in zip(((0, 2), (1, 2), (0, 1)), (*with_fused, between), strict=True):
        matrix[:, row, column] = matrix[:, column, row] = bits / _BITS
    shares: Tensor = (torch.linalg.eigvalsh(matrix) / 3.0).clamp_min_(0.0)
    nats: Tensor = torch.special.xlogy(shares, shares).sum(dim=1)
    return 1.0 + nats / (_BITS * math.log(2.0))
