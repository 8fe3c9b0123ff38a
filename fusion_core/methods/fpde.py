"""Fourth-order partial differential equations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.methods.adf import combine
from fusion_core.methods.sources import round_gray, split_pair
from fusion_core.methods.specs.fpde import FpdeParameters

_RATE = 0.9
_CONTRAST = 4.0


def fpde(sources: Tensor, *, steps: int = 15) -> Tensor:
    """Fuse by fourth-order diffusion and principal components.

    Bavirisetti, Xiao & Liu, "Multi-sensor image fusion based on fourth order partial differential
    equations", 20th International Conference on Information Fusion, 2017,
    https://doi.org/10.23919/ICIF.2017.8009719. As `adf`, with another diffusion. As in the
    published code, bases are rounded to whole gray levels, and their mean is one of integers: each
    half is rounded up.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        steps: Steps of the diffusion.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> fpde(torch.full((2, 1, 1, 4, 4), 8.0)).unique()
        tensor([8.])
    """
    infrared, visible = split_pair(sources, "fpde", dtype=torch.float32)
    bases = [
        round_gray(fourth_order_diffusion(image, steps=steps)) for image in (infrared, visible)
    ]
    base = round_gray(round_gray(0.5 * bases[0]) + round_gray(0.5 * bases[1]))
    return combine(infrared, visible, bases[0], bases[1], base)


def fourth_order_diffusion(images: Tensor, *, steps: int) -> Tensor:
    """Smooth towards piecewise planes (You & Kaveh 2000)."""
    for _ in range(steps):
        vertical, horizontal = _second_derivative(images, -2), _second_derivative(images, -1)
        conductance = 1.0 / (1.0 + (vertical**2 + horizontal**2) / _CONTRAST**2)
        change = _second_derivative(conductance * vertical, -2)
        change += _second_derivative(conductance * horizontal, -1)
        images = images - _RATE * change
    return images


def _second_derivative(images: Tensor, dim: int) -> Tensor:
    """Differentiate twice: by central differences, and by one-sided ones at the border."""
    if images.shape[dim] == 1:
        return torch.zeros_like(images)
    return _derivative(_derivative(images, dim), dim)


def _derivative(images: Tensor, dim: int) -> Tensor:
    """Differentiate once; `torch.gradient` takes three times as long."""
    last = images.shape[dim] - 1
    result = torch.empty_like(images)
    inner = result.narrow(dim, 1, last - 1)
    torch.sub(images.narrow(dim, 2, last - 1), images.narrow(dim, 0, last - 1), out=inner)
    inner.mul_(0.5)
    for place, first in ((0, 0), (last, last - 1)):
        ahead, behind = images.select(dim, first + 1), images.select(dim, first)
        torch.sub(ahead, behind, out=result.select(dim, place))
    return result


def build_fpde(
    parameters: FpdeParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: fpde(sources, steps=parameters.steps)
