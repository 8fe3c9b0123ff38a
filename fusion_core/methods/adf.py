"""Anisotropic diffusion and the Karhunen-Loeve transform."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import pad
from fusion_core.methods.karhunen_loeve import principal_weights
from fusion_core.methods.sources import split_pair
from fusion_core.methods.specs.adf import AdfParameters

_RATE = 0.15
_CONTRAST = 30.0
_NEIGHBOURS = ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5), (1, -1, 0.5))
"""Rows down and columns to the right of four neighbours, and weights; four are opposite to them."""


def adf(sources: Tensor, *, steps: int = 10) -> Tensor:
    """Fuse by anisotropic diffusion and principal components.

    Bavirisetti & Dhuli, "Fusion of Infrared and Visible Sensor Images Based on Anisotropic
    Diffusion and Karhunen-Loeve Transform", IEEE Sensors Journal, 2016,
    https://doi.org/10.1109/JSEN.2015.2478655. Diffusion gives the bases, whose mean is the fused
    base; what it removes are the details, which are weighted by their principal component.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        steps: Steps of the diffusion.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> adf(torch.full((2, 1, 1, 4, 4), 9.0), steps=0).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "adf", dtype=torch.float32)
    bases = [anisotropic_diffusion(image, steps=steps) for image in (infrared, visible)]
    return combine(infrared, visible, bases[0], bases[1], 0.5 * (bases[0] + bases[1]))


def combine(
    infrared: Tensor, visible: Tensor, infrared_base: Tensor, visible_base: Tensor, base: Tensor
) -> Tensor:
    """Add the details, weighted by their principal component, to a fused base."""
    details = infrared - infrared_base, visible - visible_base
    weights = principal_weights(*details)
    return (base + weights[0] * details[0] + weights[1] * details[1]).float()


def anisotropic_diffusion(images: Tensor, *, steps: int) -> Tensor:
    """Smooth within regions, but not across edges (Perona & Malik 1990, eight neighbours).

    As in the published code, pixels beyond the border are 0.
    """
    height, width = images.shape[-2:]
    for _ in range(steps):
        padded = pad(images, (1, 1, 1, 1), "zero")
        change = torch.zeros_like(images)
        for down, right, weight in _NEIGHBOURS:
            # What flows from a pixel to its neighbour; of the opposite neighbour, to the pixel.
            left = 1 - max(right, 0)
            columns = width + abs(right)
            here = padded[..., 1 - down : 1 + height, left : left + columns]
            there = padded[..., 1 : 1 + height + down, left + right : left + right + columns]
            flow = there - here
            flow = (flow / _CONTRAST).square_().neg_().exp_().mul_(flow)
            forward = flow[..., down:, max(right, 0) : max(right, 0) + width]
            backward = flow[..., :height, max(-right, 0) : max(-right, 0) + width]
            change.add_(forward, alpha=weight).sub_(backward, alpha=weight)
        images = images + _RATE * change
    return images


def build_adf(
    parameters: AdfParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: adf(sources, steps=parameters.steps)
