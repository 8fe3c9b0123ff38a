"""Qcb, the contrast that a fused image keeps of its sources, as seen by humans."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages, Image, ScoredBatch, evaluate
from fusion_core.metrics.filters.frequency import (
    filter_spectra,
    radial_frequencies,
    stretched_spectra,
)
from fusion_core.metrics.filters.windows import window_sums

_RADIUS = 15
_SIGMA_CENTRE, _SIGMA_SURROUND = 2.0, 4.0
_HALF_CONTRAST = 0.0001


def chen_blum(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the contrast that F keeps of its sources, as seen by humans (Qcb).

    Qcb is the mean over all pixels of w Q_AF + (1 - w) Q_BF, where Q_XF = min(P_X, P_F) / max(P_X,
    P_F), w = P_A**2 / (P_A**2 + P_B**2), P = C**3 / (C**2 + 0.0001), and C = |g_2 / g_4 - 1| is the
    contrast between Gaussians of sigma 2 and 4 around the pixel (Chen & Blum 2009, Section 3,
    https://doi.org/10.1016/j.imavis.2007.12.002). Before, images are stretched to 0..255 and
    filtered by the contrast sensitivity exp(-(r / 15.387)**2) - 0.7622 exp(-(r / 1.3456)**2) at
    15 r cycles per picture, with periodic borders.

    As in the programs in use, the Gaussians span 31x31 pixels and have a sum a little below 1, with
    zeros outside the image.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN where an image is
        flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(chen_blum(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.5785
    """
    return evaluate(score_chen_blum, ir, vis, fused)


def score_chen_blum(batch: ScoredBatch) -> Tensor:
    """Compute Qcb of a batch, `(B,)`."""
    if dispatch.use_kernels(batch.gray):
        from fusion_core.metrics.perception.kernels import sum_kept

        sources = batch.sources.cached(_masked_contrast)
        kept = dispatch.each_pair(sum_kept, sources, batch.fused.cached(_masked_contrast))
        return kept / (batch.height * batch.width)
    (a, b), f = batch.sources.cached(_masked_contrast), batch.fused.cached(_masked_contrast)
    kept_a = torch.minimum(a, f).div_(torch.maximum(a, f))
    kept_b = torch.minimum(b, f).div_(torch.maximum(b, f))
    squares = a * a, b * b
    kept = kept_a.mul_(squares[0]).addcmul_(kept_b, squares[1]).div_(squares[0].add_(squares[1]))
    return kept.mean(dim=(1, 2))


def _masked_contrast(images: GrayImages) -> Tensor:
    """Compute the response P to the local contrast as it is seen: `(…, H, W)`."""
    sensitivity = _sensitivity(images.height, images.width, images.gray.device)
    seen = filter_spectra(images, images.cached(stretched_spectra), sensitivity)
    padded = functional.pad(seen, (_RADIUS,) * 4)
    if dispatch.use_kernels(padded):
        from fusion_core.metrics.perception.kernels import masked_contrast

        narrow, wide = (
            _unnormalised_taps(sigma).numpy() for sigma in (_SIGMA_CENTRE, _SIGMA_SURROUND)
        )
        planes = torch.empty_like(seen)
        for plane, contrast in zip(padded.flatten(0, -3), planes.flatten(0, -3), strict=True):
            masked_contrast(plane.numpy(), narrow, wide, _HALF_CONTRAST, contrast.numpy())
        return planes
    centre, surround = (
        window_sums(padded, _unnormalised_taps(sigma)) for sigma in (_SIGMA_CENTRE, _SIGMA_SURROUND)
    )
    contrast = centre.div_(surround).sub_(1.0).abs_()
    squares = contrast * contrast
    return contrast.mul_(squares).div_(squares.add_(_HALF_CONTRAST))


@functools.lru_cache(maxsize=2)
def _sensitivity(height: int, width: int, device: torch.device) -> Tensor:
    r = radial_frequencies(height, width, device) / 15.0
    return torch.exp(-((r / 15.387) ** 2)) - 0.7622 * torch.exp(-((r / 1.3456) ** 2))


def _unnormalised_taps(sigma: float) -> Tensor:
    """The density of the normal distribution at each offset; the sum is a little below 1."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    return torch.exp(-(offsets**2) / (2.0 * sigma**2)) / (math.sqrt(2.0 * math.pi) * sigma)
