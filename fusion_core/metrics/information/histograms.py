"""Histograms of gray levels, their entropies, and what A and F, or B and F, share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.metrics.base import ScoredBatch
from fusion_core.metrics.compiled import dispatch

LEVELS = 256


def level_shares(batch: ScoredBatch) -> Tensor:
    """Compute the share of each gray level in A, B and F: `(3, B, 256)` float64."""
    return torch.stack([_shares(images.int(), LEVELS) for images in batch.gray])


def joint_shares(batch: ScoredBatch) -> Tensor:
    """Compute the shares of pairs of gray levels, A's with F's and B's with F's.

    Returns:
        `(2, B, 256, 256)` float64, F's level last.
    """
    fused = batch.gray[2].int()
    joint = [_shares(source.int() * LEVELS + fused, LEVELS * LEVELS) for source in batch.gray[:2]]
    return torch.stack(joint).view(2, -1, LEVELS, LEVELS)


def joint_of_sources(batch: ScoredBatch) -> Tensor:
    """Compute the shares of pairs of gray levels of A and B: `(B, 256, 256)` float64."""
    a, b, _ = batch.gray
    return _shares(a.int() * LEVELS + b.int(), LEVELS * LEVELS).view(-1, LEVELS, LEVELS)


def entropies(batch: ScoredBatch) -> Tensor:
    """Compute the Shannon entropies of A, B and F in bits: `(3, B)`."""
    return shannon_entropy(batch.cached(level_shares))


def shared_information(batch: ScoredBatch) -> Tensor:
    """Compute the mutual information I(A;F) and I(B;F) in bits: `(2, B)`."""
    single = batch.cached(entropies)
    joint = shannon_entropy(batch.cached(joint_shares).flatten(2))
    return (single[:2] + single[2] - joint).clamp_min_(0.0)  # the sum may end an ulp below


def shannon_entropy(shares: Tensor) -> Tensor:
    """Compute the Shannon entropy in bits of distributions `(…, bins)`."""
    nats: Tensor = torch.special.xlogy(shares, shares).sum(dim=-1)
    return 0.0 - nats / math.log(2.0)  # not `-nats`: one full bin gives 0 and not -0


def _shares(values: Tensor, bins: int) -> Tensor:
    """Return the share of each integer below `bins` in each image of `(B, H, W)`: `(B, bins)`."""
    rows = values.flatten(1)
    if dispatch.use_kernels(values):
        counts = torch.stack([torch.bincount(row, minlength=bins) for row in rows])
    else:  # bincount would make the host wait for the largest value
        counts = torch.zeros(len(rows), bins, dtype=torch.int64, device=values.device)
        counts.scatter_add_(1, rows.long(), torch.ones_like(rows, dtype=torch.int64))
    return counts.to(torch.float64) / rows.shape[1]
