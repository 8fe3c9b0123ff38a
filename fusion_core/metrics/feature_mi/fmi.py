"""Feature mutual information (Haghighat & Razian 2014, fast FMI)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages, Image, ScoredBatch, evaluate
from fusion_core.metrics.feature_mi.distributions import describe_windows, window_information
from fusion_core.metrics.feature_mi.features import (
    cosine_transform,
    edge_map_inside,
    meyer_transform,
)
from fusion_core.metrics.feature_mi.window_means import NOISE, mean_information
from fusion_core.metrics.filters.padding import padded_unit

_PATTERNS = 512
_ROWS = 16
"""Rows of the table of patterns that are computed at once."""


def fmi_pixel(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the feature mutual information of binary Sobel edge maps (FMI_pixel).

    FMI is the mean over all 3x3 windows and both sources X of 2 I(X;F) / (H(X) + H(F)), where a
    window's nine feature values are read as a probability density, and 1 where both windows are
    identical (Haghighat & Razian 2014, https://doi.org/10.1109/ICAICT.2014.7036000).

    The edge map is what the papers' tables hold under this name: it is the default feature of the
    authors' program, where the name says pixels. Binary windows have 512 patterns, so that the
    metric is a mean over a table.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        About 0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 3x3
        pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(fmi_pixel(ir, vis, fused=vis).item(), 4)
        0.8023
    """
    return evaluate(score_fmi_pixel, ir, vis, fused)


def fmi_dct(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the feature mutual information of cosine transforms (FMI_dct).

    As `fmi_pixel`, with the orthonormal DCT-II of the whole images as the feature. Coefficients
    that differ within a window by rounding alone count as equal, so that flat areas do not score
    noise; the published values move by less than 1e-5.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        About 0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 3x3
        pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(fmi_dct(ir, vis, fused=vis).item(), 4)
        0.6715
    """
    return evaluate(score_fmi_dct, ir, vis, fused)


def fmi_wavelet(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the feature mutual information of wavelet transforms (FMI_w).

    As `fmi_pixel`, with one level of the discrete Meyer wavelet transform (MATLAB's `dmey`, 102
    taps), scaled to 0..1, as the feature. Coefficients that differ within a window by rounding
    alone count as equal, as in `fmi_dct`.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        About 0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 3x3
        pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(fmi_wavelet(ir, vis, fused=vis).item(), 4)
        0.6976
    """
    return evaluate(score_fmi_wavelet, ir, vis, fused)


def score_fmi_pixel(batch: ScoredBatch) -> Tensor:
    """Compute FMI_pixel of a batch, `(B,)`."""
    if _too_small(batch):
        return batch.undefined()
    sources, fused = batch.sources.cached(_edges), batch.fused.cached(_edges)
    table = _pattern_table(fused.device)
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.feature_mi.fmi_kernels import pattern_mean

        return dispatch.each_pair(pattern_mean, sources, fused, table.numpy())
    table = table.flatten()
    (a, b), f = _window_codes(sources.short()).long().mul_(_PATTERNS), _window_codes(fused.short())
    first, second = table.take(a + f), table.take(b + f)
    return 0.5 * (first.mean(dim=(1, 2)) + second.mean(dim=(1, 2)))


def score_fmi_dct(batch: ScoredBatch) -> Tensor:
    """Compute FMI_dct of a batch, `(B,)`."""
    return batch.undefined() if _too_small(batch) else _fmi(batch, cosine_features)


def score_fmi_wavelet(batch: ScoredBatch) -> Tensor:
    """Compute FMI_w of a batch, `(B,)`."""
    return batch.undefined() if _too_small(batch) else _fmi(batch, wavelet_features)


def _too_small(batch: ScoredBatch) -> bool:
    return min(batch.height, batch.width) < 3


def _fmi(batch: ScoredBatch, features: Callable[[GrayImages], Tensor]) -> Tensor:
    sources, fused = batch.sources.cached(features), batch.fused.cached(features)
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.feature_mi.fmi_kernels import feature_mutual_information

        return dispatch.each_pair(feature_mutual_information, sources, fused, NOISE)
    return mean_information(torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0))))


def _edges(images: GrayImages) -> Tensor:
    """Edge maps: `(…, H, W)` uint8."""
    padded = padded_unit(images, 1, "replicate")
    edges = edge_map_inside(padded.flatten(0, -3))
    return edges.view(images.gray.shape)


def cosine_features(images: GrayImages) -> Tensor:
    """DCT, scaled so that the first coefficient of a white image is 1: `(…, H, W)`."""
    return _of_stack(cosine_transform, images).div_(math.sqrt(images.height * images.width))


def wavelet_features(images: GrayImages) -> Tensor:
    """Meyer transform, scaled to 0..1 by its own range; ones if flat: `(…, H', W')`."""
    return _of_stack(_scaled_meyer_transform, images)


def _of_stack(transform: Callable[[Tensor], Tensor], images: GrayImages) -> Tensor:
    """Transform images that are stacked along one dimension, `(N, H, W)`."""
    transformed = transform(images.unit.flatten(0, -3))
    return transformed.view(*images.gray.shape[:-2], *transformed.shape[1:])


def _scaled_meyer_transform(images: Tensor) -> Tensor:
    coefficients = meyer_transform(images)
    if dispatch.use_kernels(coefficients):
        from fusion_core.metrics.feature_mi.features_kernels import scale_to_unit

        for plane in coefficients.numpy():
            scale_to_unit(plane)
        return coefficients
    low, high = coefficients.flatten(1).aminmax(dim=1)
    span = high - low
    flat = span <= 0.0
    low, span = low - flat.double(), span + flat.double()
    return coefficients.sub_(low.view(-1, 1, 1)).div_(span.view(-1, 1, 1))


def _window_codes(edges: Tensor) -> Tensor:
    """Write each 3x3 window of 0 and 1 as a number, first column lowest."""
    height, width = edges.shape[-2] - 2, edges.shape[-1] - 2
    rows = [edges[..., y : y + height, :] << y for y in range(3)]
    codes = rows[0] | rows[1] | rows[2]
    columns = [codes[..., x : x + width] << (3 * x) for x in range(3)]
    return columns[0] | columns[1] | columns[2]


@functools.lru_cache(maxsize=8)
def _pattern_table(device: torch.device) -> Tensor:
    """FMI of all pairs of binary windows: `(512, 512)` float64."""
    codes = torch.arange(_PATTERNS, device=device)
    bits = (codes >> torch.arange(9, device=device).unsqueeze(1)) & 1
    patterns = bits.to(torch.float64)
    fused = describe_windows(patterns.repeat(1, _ROWS))
    rows = [
        window_information(describe_windows(some.repeat_interleave(_PATTERNS, dim=1)), fused)
        for some in patterns.split(_ROWS, dim=1)
    ]
    return torch.cat(rows).view(_PATTERNS, _PATTERNS).fill_diagonal_(1.0)
