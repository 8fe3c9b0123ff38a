"""Metrics from correlation.

Gray levels, their differences and their Laplacians are whole numbers, and their sums stay exact in
float64, so that whether an image is flat is decided exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.covariances import covariances_of_laplacians, covariances_of_levels


def sum_of_correlations_of_differences(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the sum of the correlations of differences (SCD).

    SCD = corr(F - B, A) + corr(F - A, B), where corr is Pearson's correlation over all pixels
    (Aslantas & Bendes 2015, https://doi.org/10.1016/j.aeue.2015.09.004).

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -2..2 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where a source,
        or its difference from the fused image, is flat.

    Example:
        >>> import numpy as np
        >>> ir = np.array([[0, 10], [20, 30]], dtype=np.uint8)
        >>> vis = np.array([[40, 0], [0, 40]], dtype=np.uint8)
        >>> round(sum_of_correlations_of_differences(ir, vis, fused=ir + vis).item(), 12)
        2.0
    """
    return evaluate(score_scd, ir, vis, fused)


def edge_preservation_index(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean edge preservation index of both sources (EPI_a).

    EPI_a is the mean over both sources X of corr(L(F), L(X)), where corr is Pearson's correlation
    over all pixels and L the Laplacian: 8 times the pixel minus its 8 neighbours, zero outside the
    image (Sattar, Floreby, Salomonsson & Lovstrom 1997, https://doi.org/10.1109/83.585239).

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where the
        Laplacian of a source or of the fused image is flat.

    Example:
        >>> import numpy as np
        >>> image = np.arange(16, dtype=np.uint8).reshape(4, 4)
        >>> round(edge_preservation_index(image, image, fused=image).item(), 12)
        1.0
    """
    return evaluate(score_edge_preservation, ir, vis, fused)


def correlation_coefficient(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mean correlation with both sources (CC).

    CC is the mean over both sources X of corr(F, X), Pearson's correlation over all pixels (Ma, Ma
    & Li 2019, Section 5.1, https://doi.org/10.1016/j.inffus.2018.02.004).

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where a source or
        the fused image is flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(correlation_coefficient(ir, vis, fused=vis).item(), 4)
        0.1029
    """
    return evaluate(score_correlation, ir, vis, fused)


def score_scd(batch: ScoredBatch) -> Tensor:
    """Compute SCD of a batch, `(B,)`."""
    if dispatch.use_kernels(batch.gray):
        pairs = batch.cached(covariances_of_levels)
        return _to_tensor([pair.of_differences() for pair in pairs]).sum(dim=1)
    a, b, f = batch.gray.flatten(2).to(torch.int16)
    return pearson(f - b, a) + pearson(f - a, b)


def score_edge_preservation(batch: ScoredBatch) -> Tensor:
    """Compute EPI_a of a batch, `(B,)`."""
    if dispatch.use_kernels(batch.gray):
        pairs = batch.cached(covariances_of_laplacians)
        return _to_tensor([pair.with_fused() for pair in pairs]).mean(dim=1)
    a, b, f = (_laplacian(gray).flatten(1) for gray in batch.gray)
    return 0.5 * (pearson(f, a) + pearson(f, b))


def score_correlation(batch: ScoredBatch) -> Tensor:
    """Compute CC of a batch, `(B,)`."""
    if dispatch.use_kernels(batch.gray):
        pairs = batch.cached(covariances_of_levels)
        return _to_tensor([pair.with_fused() for pair in pairs]).mean(dim=1)
    a, b, f = batch.gray.flatten(2)
    return 0.5 * (pearson(f, a) + pearson(f, b))


def _to_tensor(correlations: list[tuple[float, float]]) -> Tensor:
    """Return two correlations of each pair: `(B, 2)`."""
    return torch.tensor(correlations, dtype=torch.float64)


def _laplacian(gray: Tensor) -> Tensor:
    """Filter `(B, H, W)` uint8: int16."""
    padded = functional.pad(gray, (1, 1, 1, 1)).to(torch.int16)
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
