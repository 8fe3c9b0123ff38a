"""Metrics from information theory: entropy and mutual information of gray levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.metrics.base import Images, Metric
from fusion_core.metrics.compiled import dispatch

_LEVELS = 256


def entropy(images: Images) -> Tensor:
    """Shannon entropy of F's gray levels: bits, 0..8."""
    return _entropy(images.once(_fused_histogram))


def mutual_information(images: Images) -> Tensor:
    """I(A;F) + I(B;F) from joint histograms of 256 x 256 gray levels (Qu et al. 2002): bits, 0..16.

    The papers print twice the entropy under this name; see `mutual_information_as_published`.
    """
    fused = images.once(_fused_histogram)
    total = 2.0 * _entropy(fused)
    for source in images.levels[:2]:
        joint = _histogram(
            source.int() * _LEVELS + images.levels[2].int(), _LEVELS * _LEVELS
        ).unflatten(1, (_LEVELS, _LEVELS))
        total = total + _entropy(joint.sum(dim=2)) - _entropy(joint.flatten(1))
    return total.clamp_min(0.0)  # the sum of entropies may end an ulp below


def mutual_information_as_published(images: Images) -> Tensor:
    """Twice the entropy of F, which the papers' tables print under "MI": bits, 0..16.

    Their tool hands matrices to a routine for vectors, and the joint entropies cancel. Only for
    comparison with those tables.
    """
    return 2.0 * entropy(images)


def _fused_histogram(images: Images) -> Tensor:
    return _histogram(images.levels[2].int(), _LEVELS)


def _histogram(values: Tensor, bins: int) -> Tensor:
    """Count `(B, H, W)` integers below `bins`, pair by pair: `(B, bins)` float64."""
    rows = values.flatten(1)
    if dispatch.use_kernels(values):
        counts = torch.stack([torch.bincount(row, minlength=bins) for row in rows])
    else:  # bincount would make the host wait for the largest value
        counts = torch.zeros(len(rows), bins, dtype=torch.int64, device=values.device)
        counts.scatter_add_(1, rows.long(), torch.ones_like(rows, dtype=torch.int64))
    return counts.to(torch.float64)


def _entropy(histogram: Tensor) -> Tensor:
    """Shannon entropy in bits of `(B, bins)` counts."""
    p = histogram / histogram.sum(dim=1, keepdim=True)
    nats: Tensor = torch.special.xlogy(p, p).sum(dim=1)
    return 0.0 - nats / math.log(2.0)  # not `-nats`: one full bin gives 0 and not -0


ENTROPY = Metric(
    name="EN",
    title="Entropy",
    measure=entropy,
    higher_is_better=True,
    range="0..8",
    unit="bit",
    paper="Shannon 1948; Roberts et al. 2008",
)
MUTUAL_INFORMATION = Metric(
    name="MI",
    title="Mutual information",
    measure=mutual_information,
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper="Qu et al. 2002",
)
MUTUAL_INFORMATION_AS_PUBLISHED = Metric(
    name="MI_as_published",
    title="Twice the entropy, printed as MI in the papers' tables",
    measure=mutual_information_as_published,
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper="Song et al., Res2NetFuse, Table II",
)
