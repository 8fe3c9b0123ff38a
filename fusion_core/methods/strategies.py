"""Fusion strategies, which merge the feature maps of K sources."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.filters import box_mean
from fusion_core.methods import activity
from fusion_core.networks import weighted_sum

_EPSILON = 1e-5
"""Added to the range of a mean map, as in the released code."""


def addition(features: Tensor) -> Tensor:
    """Sum over the sources (Li & Wu, DenseFuse, 2019, Eq. 4).

    Args:
        features: `(K, B, C, H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    return weighted_sum(None, features)


def mean(features: Tensor) -> Tensor:
    """Average over the sources: `addition` divided by K.

    Args:
        features: `(K, B, C, H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    return weighted_sum(None, features) / features.shape[0]


def l1_norm(features: Tensor, *, radius: int = 1) -> Tensor:
    """Weighted average by local l1 activity (Li & Wu, DenseFuse, 2019, Eq. 5-7).

    Args:
        features: `(K, B, C, H, W)`.
        radius: r of Eq. 6; the activity is averaged over blocks of `(2r + 1) x (2r + 1)`.

    Returns:
        `(B, C, H, W)`.

    The paper does not specify Eq. 6 beyond the border; the border pixels are repeated here. If no
    source is active, all have the same weight.
    """
    weights = l1_weights(features, radius=radius)
    return weighted_sum(weights, features)


def l1_weights(features: Tensor, *, radius: int = 1) -> Tensor:
    """Return the weight maps of `l1_norm` (Li & Wu, DenseFuse, 2019, Eq. 5-7).

    Args:
        features: `(K, B, C, H, W)`.
        radius: r of Eq. 6.

    Returns:
        `(K, B, 1, H, W)`, at least float32, with sum 1 over K.
    """
    norms = activity.l1_norm(features.flatten(0, 1)).view(*features.shape[:2], *features.shape[3:])
    return normalise(box_mean(norms, radius, border="replicate").unsqueeze(2))


def attend_to_mean(features: Tensor, limits: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Weighted average by the mean over channels (Song et al., Res2NetFuse, 2021, Eq. 7-8).

    Args:
        features: `(K, B, C, H, W)`, none negative.
        limits: Minimum and maximum of each image's mean map, `(K, B, 1, 1, 1)`. With them the maps
            are brought to 0..1 and the weights are their soft-max, as in the released code; without
            them the weights are Eq. 7, the maps divided by their sum.

    Returns:
        `(B, C, H, W)`.
    """
    means = channel_mean(features)
    if limits is None:
        weights = normalise(means)
    else:
        low, high = limits
        weights = ((means - low) / (high - low + _EPSILON)).softmax(dim=0)
    return weighted_sum(weights, features)


def channel_mean(features: Tensor) -> Tensor:
    """Average `(K, B, C, H, W)` over the channels: `(K, B, 1, H, W)`, at least float32."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    return features.mean(dim=2, keepdim=True, dtype=dtype)


def normalise(activities: Tensor) -> Tensor:
    """Divide activities `(K, ...)`, none negative, by their sum over K.

    The papers call this operation soft-max (DenseFuse Eq. 7; VGG-19 multi-layer Eq. 7; ResNet and
    ZCA Eq. 6; ResNet-152 Eq. 7). If no source is active, all have the same weight.

    >>> normalise(torch.tensor([[3.0, 0.0], [1.0, 0.0]])).tolist()
    [[0.75, 0.5], [0.25, 0.5]]
    """
    total = activities.sum(dim=0, keepdim=True)
    even = torch.full_like(activities, 1.0 / activities.shape[0])
    return torch.where(total > 0, activities / total.clamp_min(torch.finfo(total.dtype).tiny), even)
