"""Metrics of the fused image's own sharpness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.edges.neighbours import gradients


def spatial_frequency(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the spatial frequency of the fused image (SF).

    SF = sqrt(mean(dx**2) + mean(dy**2)) with the differences of neighbouring pixels along rows and
    columns, each averaged over its own number (Eskicioglu & Fisher 1995,
    https://doi.org/10.1109/26.477498). The sources have no influence. VIFB divides by the number of
    pixels, which gives 0.1 to 0.2 % less.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Gray levels in 0..361, float64: a scalar tensor, or `(B,)` for a batch. NaN where the image
        is one pixel wide or high.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(spatial_frequency(ir, vis, fused=vis).item(), 4)
        36.1517
    """
    return evaluate(score_spatial_frequency, ir, vis, fused)


def average_gradient(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the average gradient of the fused image (AG).

    AG = sum sqrt((gx**2 + gy**2) / 2) / ((H - 1) (W - 1)) over all pixels, with central
    differences gx = (F(x + 1) - F(x - 1)) / 2 and gy, one-sided at the border (Cui, Feng, Xu, Li &
    Chen 2015, https://doi.org/10.1016/j.optcom.2014.12.032; the divisor is that of the programs).
    The sources have no influence.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Gray levels in 0..255 or little more, float64: a scalar tensor, or `(B,)` for a batch. NaN
        where the image is one pixel wide or high.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(average_gradient(ir, vis, fused=vis).item(), 4)
        9.7209
    """
    return evaluate(score_average_gradient, ir, vis, fused)


def edge_intensity(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the edge intensity of the fused image (EI).

    EI is the mean strength of the Sobel gradient, not divided by 8, with the border repeated
    (Rajalingam & Priya 2018, whom VIFB cites for it). The sources have no influence.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        Gray levels in 0..1140, float64: a scalar tensor, or `(B,)` for a batch. It is always
        defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(edge_intensity(ir, vis, fused=vis).item(), 4)
        91.1961
    """
    return evaluate(score_edge_intensity, ir, vis, fused)


def score_spatial_frequency(batch: ScoredBatch) -> Tensor:
    """Compute SF of a batch, `(B,)`."""
    if _is_line(batch):
        return batch.undefined()
    sums = batch.cached(_squared_steps)
    return (sums[0] / _steps_down(batch) + sums[1] / _steps_across(batch)).sqrt()


def score_spatial_frequency_vifb(batch: ScoredBatch) -> Tensor:
    """Compute SF of a batch, `(B,)`, with sums over the number of pixels."""
    return (batch.cached(_squared_steps).sum(dim=0) / (batch.height * batch.width)).sqrt()


def score_average_gradient(batch: ScoredBatch) -> Tensor:
    """Compute AG of a batch, `(B,)`."""
    if _is_line(batch):
        return batch.undefined()
    return batch.cached(_sum_gradients) / ((batch.height - 1) * (batch.width - 1))


def score_average_gradient_cddfuse(batch: ScoredBatch) -> Tensor:
    """Compute AG of a batch, `(B,)`, with the sum over the number of pixels."""
    if _is_line(batch):
        return batch.undefined()
    return batch.cached(_sum_gradients) / (batch.height * batch.width)


def score_edge_intensity(batch: ScoredBatch) -> Tensor:
    """Compute EI of a batch, `(B,)`."""
    return _mean_sobel(batch, "replicate")


def score_edge_intensity_zoo(batch: ScoredBatch) -> Tensor:
    """Compute EI of a batch, `(B,)`, with zeros outside the image."""
    return _mean_sobel(batch, "constant")


def _is_line(batch: ScoredBatch) -> bool:
    return min(batch.height, batch.width) < 2


def _steps_down(batch: ScoredBatch) -> int:
    return (batch.height - 1) * batch.width


def _steps_across(batch: ScoredBatch) -> int:
    return batch.height * (batch.width - 1)


def _squared_steps(batch: ScoredBatch) -> Tensor:
    """Sum the squared differences of neighbours in F, down and across: `(2, B)`."""
    f = batch.levels[2]
    return torch.stack([f.diff(dim=dim).square_().sum(dim=(1, 2)) for dim in (1, 2)])


def _sum_gradients(batch: ScoredBatch) -> Tensor:
    """Sum `sqrt((gx**2 + gy**2) / 2)` over F: `(B,)`."""
    down, across = torch.gradient(batch.levels[2], dim=(1, 2))
    return down.square_().addcmul_(across, across).mul_(0.5).sqrt_().sum(dim=(1, 2))


def _mean_sobel(batch: ScoredBatch, border: str) -> Tensor:
    padded = functional.pad(batch.levels[2:], (1, 1, 1, 1), mode=border).squeeze(0)
    across, down = gradients(padded, middle=2.0)
    return across.square_().addcmul_(down, down).sqrt_().mean(dim=(1, 2))
