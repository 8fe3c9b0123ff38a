"""Qp, the features that a fused image keeps, from phase congruency (Zhao et al. 2007)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages, Image, ScoredBatch, Sources, evaluate
from fusion_core.metrics.filters.windows import gaussian_taps, window_sums
from fusion_core.metrics.phase.congruency import Features, find_features

_THRESHOLD = 0.1
"""Phase congruency of a feature."""
_C = 1e-4
_RADIUS = 5


def phase_congruency(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the features that F keeps, found by phase congruency (Qp).

    Qp is the product, over phase congruency and its maximum and minimum moment, of the mean over
    the features of the largest of three correlations with F's map, in 11x11 Gaussian windows of
    sigma 1.5 with zeros outside the image: of A's map, of B's, and of that of the source with the
    larger phase congruency (Zhao, Laganiere & Liu 2007, International Journal of Innovative
    Computing, Information and Control 3 (6A), 1433-1447). Features are the pixels whose phase
    congruency exceeds 0.1; the maps of the sources, but not F's, are 0 elsewhere.

    Phase congruency is Kovesi's, as `find_features` describes it. Because only the sources are
    masked, a perfect F has less than 1, and a flat F has nearly 1: show Qp only next to other
    metrics.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        About 0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where the
        image is one pixel wide or high, and where neither source has a feature.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(phase_congruency(ir, vis, fused=vis).item(), 4)
        0.8869
    """
    return evaluate(score_phase_congruency, ir, vis, fused)


def score_phase_congruency(batch: ScoredBatch) -> Tensor:
    """Compute Qp of a batch, `(B,)`."""
    if min(batch.height, batch.width) < 2:
        return batch.undefined()
    sources, fused = batch.sources.cached(_source_features), batch.fused.cached(_features)
    quality = torch.ones_like(batch.undefined())
    for of_sources, of_fused in zip(sources.maps, fused, strict=True):
        quality *= _sum_kept(of_sources, of_fused, sources.masks)
        quality /= sources.masks[2].sum(dim=(1, 2))
    return quality


def _sum_kept(sources: Tensor, fused: Tensor, masks: Tensor) -> Tensor:
    """Sum the largest correlation of F's map with those of the sources over the features: `(B,)`.

    Args:
        sources: Maps of A, B, and the stronger one, with a border of zeros: `(3, B, …)`.
        fused: Map of F: `(B, H, W)`.
        masks: Where they have features: `(3, B, H, W)`.
    """
    padded = _surround(fused)
    if not dispatch.use_kernels(fused):
        return _correlate(sources, padded).mul_(masks).amax(dim=0).sum(dim=(1, 2))
    from fusion_core.metrics.phase.kernels import sum_kept

    taps, last = gaussian_taps().numpy(), sources.shape[1] - 1
    triples = dispatch.each_triple(sources[:2], padded)
    kept = []
    for n, (a, b, f) in enumerate(triples):
        stronger = sources[2, min(n, last)].numpy()
        mask = masks[:, min(n, last)].contiguous().numpy()  # one layout, for which it is compiled
        kept.append(sum_kept(a, b, f, stronger, mask, taps, _C))
    return torch.tensor(kept, dtype=torch.float64)


def _surround(maps: Tensor) -> Tensor:
    """Surround maps by zeros as far as windows reach."""
    return functional.pad(maps, (_RADIUS,) * 4)


class _SourceFeatures(NamedTuple):
    """Features of A, of B, and of the one with the larger phase congruency at each pixel."""

    masks: Tensor
    """Whether a pixel is a feature: `(3, B, H, W)`."""
    maps: list[Tensor]
    """The maps of `Features`, zero at other pixels and around: `(3, B, H + 10, W + 10)` each."""


def _features(images: GrayImages) -> Features:
    """Compute phase congruency and its moments: `(…, H, W)` each."""
    found = find_features(images.levels.flatten(0, -3))
    return Features(*(maps.view(images.gray.shape) for maps in found))


def _source_features(sources: Sources) -> _SourceFeatures:
    features = _features(sources)
    a, b = features.congruency
    masks = torch.stack((a, b, torch.maximum(a, b))) > _THRESHOLD
    stronger = a > b
    maps = [
        _surround(torch.stack((of_a, of_b, torch.where(stronger, of_a, of_b))).mul_(masks))
        for of_a, of_b in features
    ]
    return _SourceFeatures(masks, maps)


def _correlate(sources: Tensor, fused: Tensor) -> Tensor:
    """Correlate maps `(3, B, …)` with that of F in the windows that fit."""
    maps = torch.cat((sources.expand(3, *fused.shape), fused.unsqueeze(0)))
    planes = torch.cat((maps, maps * maps, maps[:3] * maps[3]))
    sums = window_sums(planes, gaussian_taps())
    means, variances, covariances = sums[:4], sums[4:8], sums[8:]
    variances -= means * means
    covariances -= means[:3] * means[3]
    spread = (variances[:3] * variances[3]).abs_().sqrt_().add_(_C)
    return covariances.add_(_C).div_(spread)
