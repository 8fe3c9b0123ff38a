"""Two-scale image fusion by visual saliency."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import box_mean, pad
from fusion_core.methods.sources import divide, split_pair
from fusion_core.methods.specs.tif import TifParameters


def tif(sources: Tensor, *, radius: int = 17) -> Tensor:
    """Fuse two scales, the details by their saliency.

    Bavirisetti & Dhuli, "Two-scale image fusion of visible and infrared images using saliency
    detection", Infrared Physics & Technology, 2016, https://doi.org/10.1016/j.infrared.2016.01.009.
    The base is a mean of windows, the saliency the squared difference between base and median. As
    in the published code, the mean continues the image periodically, and the median with zeros.
    Where no source is salient, the published code writes 0; here both details have the same weight.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        radius: Radius of the windows of the mean.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> tif(torch.full((2, 1, 1, 40, 40), 9.0)).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "tif", dtype=torch.float32)
    bases = [box_mean(image, radius, border="circular") for image in (infrared, visible)]
    saliency = [
        (base - _median(image)) ** 2 for base, image in zip(bases, (infrared, visible), strict=True)
    ]
    weight = divide(saliency[0], saliency[0] + saliency[1], 0.5)
    details = weight * (infrared - bases[0]) + (1.0 - weight) * (visible - bases[1])
    return (details + 0.5 * (bases[0] + bases[1])).float()


def _median(images: Tensor) -> Tensor:
    """Return the median of each 3x3 window."""
    height, width = images.shape[-2:]
    padded = pad(images, (1, 1, 1, 1), "zero")
    windows = [
        padded[..., row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    ]
    return torch.stack(windows).median(dim=0).values


def build_tif(
    parameters: TifParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: tif(sources, radius=parameters.radius)
