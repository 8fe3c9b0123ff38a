"""Metrics from information theory: entropy and mutual information of gray levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.metrics.base import Metric, check_images

_LEVELS = 256


def entropy(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Shannon entropy of the fused image's gray levels.

    Args:
        ir: `(B, 1, H, W)` uint8, not used.
        vis: `(B, 1, H, W)` uint8, not used.
        fused: `(B, 1, H, W)` uint8.

    Returns:
        `(B,)` float64, bits, 0..8.

    Raises:
        InvalidValueError: The three are not uint8 of one shape.
    """
    check_images(ir, vis, fused)
    return _entropy(_histogram(fused.flatten(1).long(), _LEVELS))


def mutual_information(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Mutual information of infrared and fused plus that of visible and fused.

    Args:
        ir: `(B, 1, H, W)` uint8.
        vis: `(B, 1, H, W)` uint8.
        fused: `(B, 1, H, W)` uint8.

    Returns:
        `(B,)` float64, bits, 0..16, from joint histograms of 256 x 256 gray levels.

    Raises:
        InvalidValueError: The three are not uint8 of one shape.

    The papers print twice the entropy under this name; see `mutual_information_as_published`.
    """
    check_images(ir, vis, fused)
    a, b, f = (image.flatten(1).long() for image in (ir, vis, fused))
    fused_entropy = _entropy(_histogram(f, _LEVELS))
    total = 2.0 * fused_entropy
    for source in (a, b):
        joint = _histogram(source * _LEVELS + f, _LEVELS * _LEVELS)
        total = total + _entropy(_histogram(source, _LEVELS)) - _entropy(joint)
    return total.clamp_min(0.0)  # the sum of entropies may end an ulp below


def mutual_information_as_published(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Twice the entropy of the fused image: what the papers' tables print under "MI".

    Their tool hands matrices to a routine for vectors, and the joint entropies cancel. Only for
    comparison with those tables.

    Args:
        ir: `(B, 1, H, W)` uint8, not used.
        vis: `(B, 1, H, W)` uint8, not used.
        fused: `(B, 1, H, W)` uint8.

    Returns:
        `(B,)` float64, bits, 0..16.

    Raises:
        InvalidValueError: The three are not uint8 of one shape.
    """
    return 2.0 * entropy(ir, vis, fused)


def _histogram(values: Tensor, bins: int) -> Tensor:
    """Count `(B, N)` integers below `bins` row by row: `(B, bins)` float64."""
    batch = values.shape[0]
    offsets = torch.arange(batch, device=values.device).unsqueeze(1) * bins
    counts = torch.bincount((values + offsets).flatten(), minlength=batch * bins)
    return counts.view(batch, bins).to(torch.float64)


def _entropy(histogram: Tensor) -> Tensor:
    """Shannon entropy in bits of `(B, bins)` counts."""
    p = histogram / histogram.sum(dim=1, keepdim=True)
    nats: Tensor = torch.special.xlogy(p, p).sum(dim=1)
    return 0.0 - nats / math.log(2.0)  # not `-nats`: one full bin gives 0 and not -0


ENTROPY = Metric(
    name="EN",
    title="Entropy",
    compute=entropy,
    higher_is_better=True,
    range="0..8",
    unit="bit",
    paper="Shannon 1948; Roberts et al. 2008",
)
MUTUAL_INFORMATION = Metric(
    name="MI",
    title="Mutual information",
    compute=mutual_information,
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper="Qu et al. 2002",
)
MUTUAL_INFORMATION_AS_PUBLISHED = Metric(
    name="MI_as_published",
    title="Twice the entropy, printed as MI in the papers' tables",
    compute=mutual_information_as_published,
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper="Song et al., Res2NetFuse, Table II",
)
