"""Nabf, the artefacts that fusion adds to its sources."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.edges.neighbours import neighbours
from fusion_core.metrics.filters.padding import padded_unit

_HALF_PI = math.pi / 2.0


def nabf(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the modified measure of fusion artefacts (Nabf).

    Nabf is the sum of (1 - Q_AF) + (1 - Q_BF) over the artefacts, which are the pixels where F has
    a stronger gradient than both sources, divided by twice the number of pixels of the image. Q_XF
    is the share of a pixel's gradient strength and orientation that F preserves (Shreyamsha Kumar
    2013, https://doi.org/10.1007/s11760-012-0361-x).

    The gradient is that of the Sobel filter divided by 8, on 0..1, with the border mirrored
    without its pixel. The paper weights a pixel by the strength of the source's gradient where it
    is at least 2, and by 0.001 elsewhere. Gradients of images on 0..1, which the published tables
    are made of too, are weaker than that everywhere, so that the constant weight cancels.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, lower is better, float64: a scalar tensor, or `(B,)` for a batch. NaN
        where the image is one pixel wide or high and cannot be mirrored.

    Example:
        >>> import numpy as np
        >>> ir = np.zeros((8, 8), dtype=np.uint8)
        >>> ir[:, 4:] = 100
        >>> nabf(ir, ir, fused=ir).item()
        0.0
        >>> round(nabf(ir, ir, fused=2 * ir).item(), 4)
        0.0733
    """
    return evaluate(score_nabf, ir, vis, fused)


def score_nabf(batch: ScoredBatch) -> Tensor:
    """Compute Nabf of a batch, `(B,)`."""
    if min(batch.height, batch.width) < 2:
        return batch.undefined()
    sources, fused = (padded_unit(x, 1, "reflect") for x in (batch.sources, batch.fused))
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.edges.kernels import nabf_sum

        total = dispatch.each_pair(nabf_sum, sources, fused)
    else:
        padded = torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0)))
        strength, angle = _gradients(padded)
        artefact = (strength[2] > strength[0]) & (strength[2] > strength[1])
        quality = [_quality(strength[n], angle[n], strength[2], angle[2]) for n in range(2)]
        added = (1.0 - quality[0]) + (1.0 - quality[1])
        total = torch.where(artefact, added, 0.0).sum(dim=(1, 2))
    return total / (2 * batch.height * batch.width)


def _gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    p = neighbours(padded)
    left = p[0][0] + 2.0 * p[1][0] + p[2][0]
    right = p[0][2] + 2.0 * p[1][2] + p[2][2]
    gv = (right - left) * 0.125
    across = (p[2][0] - p[0][0]) + 2.0 * (p[2][1] - p[0][1]) + (p[2][2] - p[0][2])
    gh = across * 0.125
    angle = torch.where((gh == 0.0) & (gv == 0.0), 0.0, torch.atan(gv / gh))
    # Ties may depend on the roots: CUDA rounds them correctly.
    return (gh * gh + gv * gv).sqrt(), angle


def _quality(source: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor) -> Tensor:
    small, large = torch.minimum(source, fused), torch.maximum(source, fused)
    ratio = torch.where(small == 0.0, 0.0, small / large)
    orientation = ((angle - fused_angle).abs() - _HALF_PI).abs() / _HALF_PI
    strength = 0.9999 / (1.0 + torch.exp(-19.0 * (ratio - 0.5)))
    return (strength * (0.9995 / (1.0 + torch.exp(-22.0 * (orientation - 0.5))))).sqrt()
