"""Multi-scale guided filter fusion."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import guided_filter
from fusion_core.methods.sources import divide, split_pair
from fusion_core.methods.specs.mgff import MgffParameters


def mgff(sources: Tensor, *, levels: int = 4, radius: int = 9, epsilon: float = 1e3) -> Tensor:
    """Fuse several scales, whose details are what each source shows more than the other one.

    Bavirisetti, Xiao, Zhao, Dhuli & Liu, "Multi-scale Guided Image and Video Fusion: A Fast and
    Efficient Approach", Circuits, Systems, and Signal Processing, 2019,
    https://doi.org/10.1007/s00034-019-01131-z. At each level, each image guides the smoothing of
    the other one, and its detail is its difference from the result. Details are weighted by their
    magnitude, and the images of the last level are averaged.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        levels: Number of levels.
        radius: Radius of the guided filter.
        epsilon: Regularisation of the guided filter, for images in 0..255.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> mgff(torch.full((2, 1, 1, 4, 4), 9.0)).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "mgff", dtype=torch.float32)
    details = torch.zeros_like(infrared)
    for _ in range(levels):
        smooth = (
            guided_filter(infrared, visible, radius, epsilon),
            guided_filter(visible, infrared, radius, epsilon),
        )
        first, second = infrared - smooth[0], visible - smooth[1]
        weighted = first.abs() * first + second.abs() * second
        details += divide(weighted, first.abs() + second.abs(), 0.0)
        infrared, visible = smooth
    return (details + 0.5 * (infrared + visible)).float()


def build_mgff(
    parameters: MgffParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: mgff(
        sources, levels=parameters.levels, radius=parameters.radius, epsilon=parameters.epsilon
    )
