"""Metrics from correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import Metric, check_images, to_double


def sum_of_correlations_of_differences(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """SCD = corr(F - B, A) + corr(F - A, B) (Aslantas & Bendes 2015).

    Args:
        ir: A, `(B, 1, H, W)` uint8.
        vis: B, `(B, 1, H, W)` uint8.
        fused: F, `(B, 1, H, W)` uint8.

    Returns:
        `(B,)` float64, -2..2; NaN where a source or a difference image is flat.

    Raises:
        InvalidValueError: The three are not uint8 of one shape.
    """
    check_images(ir, vis, fused)
    a, b, f = (to_double(image).flatten(1) for image in (ir, vis, fused))
    # Differences of gray levels are whole numbers, so flatness is decided exactly.
    flat = [_is_flat(image.flatten(1)) for image in (ir, vis)]
    levels = [image.flatten(1).to(torch.int16) for image in (ir, vis, fused)]
    flat += [_is_flat(levels[2] - levels[1]), _is_flat(levels[2] - levels[0])]
    value = pearson(f - b, a) + pearson(f - a, b)
    return value.masked_fill(torch.stack(flat).any(dim=0), torch.nan)


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation of `(B, N)` rows, `(B,)`; NaN where a row does not vary."""
    x = x - x.mean(dim=1, keepdim=True)
    y = y - y.mean(dim=1, keepdim=True)
    return (x * y).sum(dim=1) / ((x * x).sum(dim=1) * (y * y).sum(dim=1)).sqrt()


def _is_flat(values: Tensor) -> Tensor:
    return values.amin(dim=1) == values.amax(dim=1)


SCD = Metric(
    name="SCD",
    title="Sum of the correlations of differences",
    compute=sum_of_correlations_of_differences,
    higher_is_better=True,
    range="-2..2",
    unit="1",
    paper="Aslantas & Bendes 2015",
    undefined="a source, or its difference from the fused image, is flat",
)
