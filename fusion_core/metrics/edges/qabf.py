"""Qabf, the edge information that a fused image keeps of its sources."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.edges.neighbours import neighbours
from fusion_core.metrics.filters.padding import padded_unit

_HALF_PI = math.pi / 2.0


def qabf(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the edge information kept from the sources (Qabf).

    Qabf = sum(Q_AF g_A + Q_BF g_B) / sum(g_A + g_B), where g is the strength of the Sobel gradient
    on 0..1 and Q_XF the share of a pixel's gradient strength and orientation that F preserves
    (Xydeas & Petrovic 2000, https://doi.org/10.1049/el:20000267).

    The Sobel filter is a convolution with zeros outside the image, its nine products added in a
    stated order: ties and zeros of flat areas depend on it. Where both gradients are equal, the
    published tables take the gradient itself as the relative strength, and not 1 as in the paper;
    so does this function. The value therefore depends on the range of the images: on 0..255, which
    many programs take, equal gradients count almost fully.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where neither
        source has a gradient.

    Example:
        >>> import numpy as np
        >>> ir = np.zeros((8, 8), dtype=np.uint8)
        >>> ir[:, 4:] = 200
        >>> round(qabf(ir, ir.T, fused=np.maximum(ir, ir.T)).item(), 4)
        0.6467
    """
    return evaluate(score_qabf, ir, vis, fused)


def score_qabf(batch: ScoredBatch) -> Tensor:
    """Compute Qabf of a batch, `(B,)`."""
    sources, fused = (padded_unit(x, 1, "constant") for x in (batch.sources, batch.fused))
    return _qabf(sources, fused)


def score_qabf_255(batch: ScoredBatch) -> Tensor:
    """Compute Qabf of a batch, `(B,)`, on 0..255, where equal gradients count almost fully."""
    return _qabf_of_levels(batch, 1.0)


def score_qabf_vifb(batch: ScoredBatch) -> Tensor:
    """Compute Qabf of a batch, `(B,)`, on 0..65025."""
    return _qabf_of_levels(batch, 255.0)


def _qabf_of_levels(batch: ScoredBatch, scale: float) -> Tensor:
    padded = functional.pad(batch.levels * scale, (1, 1, 1, 1))
    return _qabf(padded[:2], padded[2])


def _qabf(sources: Tensor, fused: Tensor) -> Tensor:
    """Compute Qabf of images with a border of zeros, `(2, B, …)` and `(B, …)`: `(B,)`."""
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.edges.kernels import qabf_sums

        sums = dispatch.each_pair(qabf_sums, sources, fused)
        return sums[:, 0] / sums[:, 1]
    padded = torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0)))
    strength, angle = _gradients(padded)
    quality = [_quality(strength[n], angle[n], strength[2], angle[2]) for n in range(2)]
    kept = (quality[0] * strength[0] + quality[1] * strength[1]).sum(dim=(1, 2))
    return kept / (strength[0] + strength[1]).sum(dim=(1, 2))


def _gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    p = neighbours(padded)
    sx = -p[2][2] - 2.0 * p[1][2] - p[0][2] + p[2][0] + 2.0 * p[1][0] + p[0][0]
    sy = p[2][2] - p[0][2] + 2.0 * p[2][1] - 2.0 * p[0][1] + p[2][0] - p[0][0]
    angle = torch.where(sx == 0.0, _HALF_PI, torch.atan(sy / sx))
    # Ties may depend on the roots: CUDA rounds them correctly.
    return (sx * sx + sy * sy).sqrt(), angle


def _quality(source: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor) -> Tensor:
    ratio = torch.minimum(source, fused) / torch.maximum(source, fused)
    ratio = torch.where(source == fused, fused, ratio)
    alignment = 1.0 - (angle - fused_angle).abs() / _HALF_PI
    strength = 0.9994 / (1.0 + torch.exp(-15.0 * (ratio - 0.5)))
    return strength * (0.9879 / (1.0 + torch.exp(-22.0 * (alignment - 0.8))))
