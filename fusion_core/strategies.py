"""Fusion strategies: how the feature maps of K sources become one set of feature maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def addition(features: Tensor) -> Tensor:
    """Sum over the sources (Li & Wu, DenseFuse, 2019, Eq. 4).

    Args:
        features: `(K, B, C, H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    return features.sum(dim=0)


def mean(features: Tensor) -> Tensor:
    """Average over the sources: `addition` divided by K.

    Args:
        features: `(K, B, C, H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    return features.mean(dim=0)


def l1_norm(features: Tensor, *, radius: int = 1) -> Tensor:
    """Weighted average by local l1 activity (Li & Wu, DenseFuse, 2019, Eq. 5-7).

    Args:
        features: `(K, B, C, H, W)`.
        radius: r of Eq. 6; the activity is averaged over blocks of `(2r + 1) x (2r + 1)`.

    Returns:
        `(B, C, H, W)`.

    The paper does not say what Eq. 6 averages beyond the border; the border pixel is repeated
    here. Where no source is active, all weigh the same.
    """
    weights = l1_weights(features, radius=radius)
    return (weights * features).sum(dim=0)


def l1_weights(features: Tensor, *, radius: int = 1) -> Tensor:
    """Return the weight maps of `l1_norm`, `(K, B, 1, H, W)`, which sum to 1 over the sources."""
    activity = block_average(features.abs().sum(dim=2), radius).unsqueeze(2)
    total = activity.sum(dim=0, keepdim=True)
    even = torch.full_like(activity, 1.0 / features.shape[0])
    return torch.where(total > 0, activity / total.clamp_min(torch.finfo(total.dtype).tiny), even)


def block_average(maps: Tensor, radius: int) -> Tensor:
    """Average `(K, B, H, W)` over square blocks of side `2 radius + 1`, border repeated."""
    if radius == 0:
        return maps
    padded = functional.pad(maps, (radius,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * radius + 1, stride=1)
