"""Metrics from correlation.

Gray levels, their differences and their Laplacians are whole numbers, and their sums stay exact in
float64, so that whether an image is flat is decided exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.base import Images, Metric


def sum_of_correlations_of_differences(images: Images) -> Tensor:
    """SCD = corr(F - B, A) + corr(F - A, B) (Aslantas & Bendes 2015): -2..2.

    NaN where a source or a difference image is flat.
    """
    a, b, f = images.levels.flatten(2).to(torch.int16)
    return pearson(f - b, a) + pearson(f - a, b)


def edge_preservation_index(images: Images) -> Tensor:
    """EPI_a, the mean over both sources of corr(laplacian(F), laplacian(source)): -1..1.

    The Laplacian is 8 times the pixel minus its 8 neighbours, zero outside the image (Sattar et
    al. 1997). NaN where a filtered image is flat.
    """
    a, b, f = (_laplacian(levels).flatten(1) for levels in images.levels)
    return 0.5 * (pearson(f, a) + pearson(f, b))


def _laplacian(levels: Tensor) -> Tensor:
    """Filter `(B, H, W)` uint8: int16."""
    padded = functional.pad(levels, (1, 1, 1, 1)).to(torch.int16)
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return 9 * padded[:, 1:-1, 1:-1] - box


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation of whole numbers `(B, N)`, row by row.

    Args:
        x: Integers.
        y: Integers.

    Returns:
        `(B,)` float64, -1..1, NaN where a row is flat.
    """
    x, y = _near_zero(x), _near_zero(y)
    sum_x, sum_y = x.sum(dim=1), y.sum(dim=1)
    covariance = (x * y).sum(dim=1) - sum_x * sum_y / x.shape[1]
    variance_x = (x * x).sum(dim=1) - sum_x * sum_x / x.shape[1]
    variance_y = (y * y).sum(dim=1) - sum_y * sum_y / y.shape[1]
    # The squares around the mean of whole numbers sum to 0 or to at least a half.
    flat = (variance_x < 0.25) | (variance_y < 0.25)
    correlation: Tensor = covariance / (variance_x * variance_y).sqrt()
    return correlation.masked_fill(flat, torch.nan)


def _near_zero(x: Tensor) -> Tensor:
    """Subtract the mean to the next whole number: the sums stay exact and nothing cancels."""
    values = x.to(torch.float64)
    return values.sub_(values.mean(dim=1, keepdim=True).round_())


SCD = Metric(
    name="SCD",
    title="Sum of the correlations of differences",
    measure=sum_of_correlations_of_differences,
    higher_is_better=True,
    range="-2..2",
    unit="1",
    paper="Aslantas & Bendes 2015",
    undefined="a source, or its difference from the fused image, is flat",
)
EDGE_PRESERVATION = Metric(
    name="EPI_a",
    title="Mean edge preservation index",
    measure=edge_preservation_index,
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper="Sattar et al. 1997",
    undefined="the Laplacian of a source or of the fused image is flat",
)
