"""Metrics of the similarity to the more salient source (Piella & Heijmans 2003)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages, Image, ScoredBatch, evaluate
from fusion_core.metrics.edges.neighbours import gradients
from fusion_core.metrics.filters.windows import gaussian_taps, row_bands, window_moments

_WINDOW = 11
_C1, _C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2


def piella_q(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute Piella's quality index (Qs).

    Qs is the mean over all windows of q = l S(F, A) + (1 - l) S(F, B), where S is SSIM and l =
    var(A) / (var(A) + var(B)) the saliency of A in the window (Piella & Heijmans 2003, Eq. 4,
    https://doi.org/10.1109/ICIP.2003.1247209). l is 0.5 where both are flat.

    Windows are 11x11 Gaussians of sigma 1.5 inside the image, and S has the usual constants, K =
    (0.01, 0.03), as in all programs in use; the paper takes the universal index without constants
    in windows of 8x8 pixels.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 11x11
        pixels.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(piella_q(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.3648
    """
    return evaluate(score_piella_q, ir, vis, fused)


def piella_weighted(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute Piella's weighted quality index (Qw).

    Qw = sum(C q) / sum(C) over all windows, with q as in `piella_q` and C = max(var(A), var(B))
    (Piella & Heijmans 2003, Eq. 5, https://doi.org/10.1109/ICIP.2003.1247209). What MEFB prints
    under this name is the same of edge images; see `piella_edges`.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 11x11
        pixels, and where both sources are flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(piella_weighted(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.3504
    """
    return evaluate(score_piella_weighted, ir, vis, fused)


def piella_edges(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute Piella's edge-dependent quality index (Qe).

    Qe = Qw(A, B, F) Qw(A', B', F') with `piella_weighted` and the edge images X' (Piella &
    Heijmans 2003, Eq. 6 with alpha = 1, https://doi.org/10.1109/ICIP.2003.1247209): the strength of
    the Prewitt gradient, with zeros outside the image.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        -1..1 without a unit, float64: a scalar tensor, or `(B,)` for a batch. NaN below 11x11
        pixels, and where both sources or their edge images are flat.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(piella_edges(ir, vis, fused=ir // 2 + vis // 2).item(), 4)
        0.1096
    """
    return evaluate(score_piella_edges, ir, vis, fused)


def score_piella_q(batch: ScoredBatch) -> Tensor:
    """Compute Qs of a batch, `(B,)`."""
    return batch.cached(_score_gray)[0]


def score_piella_weighted(batch: ScoredBatch) -> Tensor:
    """Compute Qw of a batch, `(B,)`."""
    return batch.cached(_score_gray)[1]


def score_piella_edges(batch: ScoredBatch) -> Tensor:
    """Compute Qe of a batch, `(B,)`."""
    return score_piella_weighted(batch) * score_piella_edge_factor(batch)


def score_piella_edge_factor(batch: ScoredBatch) -> Tensor:
    """Compute the second factor of Qe of a batch, `(B,)`."""
    return batch.cached(_score_edges)[1]


def _score_gray(batch: ScoredBatch) -> tuple[Tensor, Tensor]:
    return _quality(batch, batch.sources.levels, batch.fused.levels)


def _score_edges(batch: ScoredBatch) -> tuple[Tensor, Tensor]:
    return _quality(batch, batch.sources.cached(_edges), batch.fused.cached(_edges))


def _edges(images: GrayImages) -> Tensor:
    """Compute the strength of the Prewitt gradient: `(…, H, W)`."""
    across, down = gradients(functional.pad(images.levels, (1, 1, 1, 1)), middle=1.0)
    return across.square_().addcmul_(down, down).sqrt_()


def _quality(batch: ScoredBatch, sources: Tensor, fused: Tensor) -> tuple[Tensor, Tensor]:
    """Compute Qs and Qw of planes `(2, B, H, W)` and `(B, H, W)`: `(B,)` each."""
    if min(batch.height, batch.width) < _WINDOW:
        return batch.undefined(), batch.undefined()
    mean, weighted, weights = _sum_windows(sources, fused)
    windows = (batch.height - _WINDOW + 1) * (batch.width - _WINDOW + 1)
    return mean / windows, weighted / weights


def _sum_windows(sources: Tensor, fused: Tensor) -> tuple[Tensor, ...]:
    """Sum q, C q and C over all windows: `(B,)` each."""
    if dispatch.use_kernels(fused):
        from fusion_core.metrics.structural.window_kernels import piella_sums

        taps = gaussian_taps().numpy()
        return dispatch.each_pair(piella_sums, sources, fused, taps, _C1, _C2).unbind(dim=1)
    planes = torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0)))
    mean, weighted, weights = planes.new_zeros(3, planes.shape[1])
    for band in row_bands(planes, _WINDOW):
        m = window_moments(band, gaussian_taps())
        to_a, to_b = (m.similarity(source, _C1, _C2) for source in range(2))
        a, b, _ = m.variance
        flat = ((a == 0.0) & (b == 0.0)).double().mul_(0.5)
        saliency = (a + flat) / (a + b).add_(flat, alpha=2.0)
        quality = torch.addcmul(to_b, saliency, to_a.sub_(to_b))
        weight = torch.maximum(a, b)
        mean += quality.sum(dim=(1, 2))
        weights += weight.sum(dim=(1, 2))
        weighted += quality.mul_(weight).sum(dim=(1, 2))
    return mean, weighted, weights
