"""Image fusion with guided filtering."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import box_mean, gaussian_blur, guided_filter, pad
from fusion_core.methods.sources import round_gray, split_pair
from fusion_core.methods.specs.gff import GffParameters

_TINY = 1e-12


def gff(
    sources: Tensor,
    *,
    base_radius: int = 45,
    base_epsilon: float = 0.3,
    detail_radius: int = 7,
    detail_epsilon: float = 1e-6,
) -> Tensor:
    """Fuse two scales with weight maps that a guided filter aligns with the sources.

    Li, Kang & Hu, "Image Fusion With Guided Filtering", IEEE Transactions on Image Processing,
    2013, https://doi.org/10.1109/TIP.2013.2244222, Eq. 7-15. As in the published code, the filtered
    weight maps are rounded to 8 bits, and where both sources are equally salient, the visible one
    counts.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        base_radius: r1 of Eq. 10, the radius of the filter for the base.
        base_epsilon: epsilon1 of Eq. 10, for images in 0..1.
        detail_radius: r2 of Eq. 11, for the detail.
        detail_epsilon: epsilon2 of Eq. 11.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> gff(torch.full((2, 1, 1, 4, 4), 9.0)).round(decimals=4).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "gff", scale=255.0)
    images = torch.stack((visible, infrared))
    saliency = gaussian_blur(_laplacian(images).abs(), 11, 5.0, "replicate")
    infrared_map = (saliency[1] > saliency[0]).double()
    maps = torch.stack((1.0 - infrared_map, infrared_map))
    bases = box_mean(images, 15, border="replicate")
    base_weights = _weights(images, maps, base_radius, base_epsilon)
    detail_weights = _weights(images, maps, detail_radius, detail_epsilon)
    fused = (base_weights * bases + detail_weights * (images - bases)).sum(dim=0)
    return (255.0 * fused).float()


def _laplacian(images: Tensor) -> Tensor:
    padded = pad(images, (1, 1, 1, 1), "replicate")
    vertical = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]
    horizontal = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return vertical + horizontal - 4.0 * images


def _weights(images: Tensor, maps: Tensor, radius: int, epsilon: float) -> Tensor:
    filtered = guided_filter(images, maps, radius, epsilon)
    weights = round_gray(255.0 * filtered) / 255.0 + _TINY
    return weights / weights.sum(dim=0)


def build_gff(
    parameters: GffParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: gff(
        sources,
        base_radius=parameters.base_radius,
        base_epsilon=parameters.base_epsilon,
        detail_radius=parameters.detail_radius,
        detail_epsilon=parameters.detail_epsilon,
    )
