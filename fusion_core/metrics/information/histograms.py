"""Histograms of gray levels, their entropies, and what A and F, or B and F, share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages, ScoredBatch, Sources

LEVELS = 256


def level_shares(images: GrayImages) -> Tensor:
    """Compute the share of each gray level: `(…, 256)` float64."""
    return _shares(images.gray.int(), LEVELS)


def joint_shares(batch: ScoredBatch) -> Tensor:
    """Compute the shares of pairs of gray levels, A's with F's and B's with F's.

    Returns:
        `(2, B, 256, 256)` float64, F's level last.
    """
    return torch.stack([_pair_shares(x, batch.fused.gray) for x in batch.sources.gray])


def information_of_sources(sources: Sources) -> Tensor:
    """Compute the mutual information I(A;B) in bits: `(B,)`."""
    joint = shannon_entropy(_pair_shares(*sources.gray).flatten(1))
    return sources.cached(entropies).sum(dim=0) - joint


def entropies(images: GrayImages) -> Tensor:
    """Compute the Shannon entropy of each image in bits: `(…)`."""
    return shannon_entropy(images.cached(level_shares))


def entropy_sums(batch: ScoredBatch) -> Tensor:
    """Compute H(A) + H(F) and H(B) + H(F) in bits: `(2, B)`."""
    return batch.sources.cached(entropies) + batch.fused.cached(entropies)


def shared_information(batch: ScoredBatch) -> Tensor:
    """Compute the mutual information I(A;F) and I(B;F) in bits: `(2, B)`."""
    joint = shannon_entropy(batch.cached(joint_shares).flatten(2))
    return (batch.cached(entropy_sums) - joint).clamp_min_(0.0)  # the sum may end an ulp below


def shannon_entropy(shares: Tensor) -> Tensor:
    """Compute the Shannon entropy in bits of distributions `(…, bins)`."""
    nats: Tensor = torch.special.xlogy(shares, shares).sum(dim=-1)
    return 0.0 - nats / math.log(2.0)  # not `-nats`: one full bin gives 0 and not -0


def _pair_shares(first: Tensor, second: Tensor) -> Tensor:
    """Return the share of each pair of gray levels of two stacks of images: `(B, 256, 256)`.

    Args:
        first: `(B, H, W)` uint8, or `(1, H, W)` if it is one image.
        second: `(B, H, W)` uint8.
    """
    if not dispatch.use_kernels(second):
        codes = torch.add(second, first.long(), alpha=LEVELS)
        return _shares(codes, LEVELS * LEVELS).view(-1, LEVELS, LEVELS)
    from fusion_core.metrics.information.kernels import count_pairs

    counts = torch.zeros(len(second), LEVELS, LEVELS, dtype=torch.int64)
    for x, y, pairs in zip(first.expand_as(second), second, counts.numpy(), strict=True):
        count_pairs(x.numpy(), y.numpy(), pairs)
    return counts.to(torch.float64) / (second.shape[1] * second.shape[2])


def _shares(values: Tensor, bins: int) -> Tensor:
    """Return the share of each integer below `bins` in each image of `(…, H, W)`: `(…, bins)`."""
    rows = values.flatten(0, -3).flatten(1)
    if dispatch.use_kernels(values):
        counts = torch.stack([torch.bincount(row, minlength=bins) for row in rows])
    else:  # bincount would make the host wait for the largest value
        counts = torch.zeros(len(rows), bins, dtype=torch.int64, device=values.device)
        counts.scatter_add_(1, rows.long(), counts.new_ones(()).expand_as(rows))
    return (counts.to(torch.float64) / rows.shape[1]).view(*values.shape[:-2], bins)
