"""Hybrid multi-scale decomposition with a guided filter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import gaussian_blur, guided_filter
from fusion_core.methods.sources import divide, split_pair
from fusion_core.methods.specs.hmsd_gf import HmsdGfParameters

_SCALES = ((2, 0.1), (4, 0.05), (8, 0.025), (16, 0.0125))
"""Radius, and standard deviation of the edges that are kept, of each level."""
_TEXTURE_EPSILON = 1e4
_TILE = 40
_GAIN = 275.0
"""Gray levels of white: the result is 8 % brighter than the sources, as published."""


def hmsd_gf(sources: Tensor) -> Tensor:
    """Inject what the infrared image shows more of into the visible one, at four scales.

    Zhou, Dong, Xie & Gao, "Fusion of infrared and visible images for night-vision context
    enhancement", Applied Optics, 2016, https://doi.org/10.1364/AO.55.006480. Guided filters split
    both images into a base, textures and edges. How much of the infrared image is injected follows
    from the perceptual saliency of both images.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range; brighter by 8 % on purpose.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> hmsd_gf(torch.full((2, 1, 1, 50, 50), 51.0)).round(decimals=3).unique()
        tensor([55.])
    """
    infrared, visible = split_pair(sources, "hmsd_gf")
    injection = _injection(infrared, visible)
    bases, textures, edges = _decompose(torch.stack((infrared, visible)) / 255.0)
    fused: Tensor | None = None
    for level in (3, 2, 1):
        texture, edge = textures[level], edges[level]
        stronger = (edge[0].abs() - edge[1].abs()).clamp(min=0.0)
        share = divide(stronger, stronger.amax(dim=(-2, -1), keepdim=True), 0.0)
        weight = torch.atan(injection * share) / torch.atan(injection)
        if fused is None:
            smooth = gaussian_blur(weight, 385, 64.0, "symmetric")
            fused = _mix(smooth, bases)
        weight = gaussian_blur(weight, 7, 1.0, "symmetric")
        fused = fused + _mix(weight, edge) + _mix(weight, texture)
    assert fused is not None
    texture, edge = textures[0], edges[0]
    edge_weight = gaussian_blur(_larger(edge), 7, 1.0, "symmetric")
    fused = fused + _mix(edge_weight, edge) + _mix(_larger(texture), texture)
    return (_GAIN * fused).float()


def _mix(weight: Tensor, images: Tensor) -> Tensor:
    return weight * images[0] + (1.0 - weight) * images[1]


def _larger(images: Tensor) -> Tensor:
    """Return 1 where the infrared image has the larger magnitude, 0 elsewhere."""
    return (images[1].abs() < images[0].abs()).to(images.dtype)


def _decompose(images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the bases, and the textures and edges of each level from the finest."""
    textures, edges = [], []
    smooth = kept = images
    for radius, deviation in _SCALES:
        finer = smooth
        smooth = guided_filter(smooth, smooth, radius, _TEXTURE_EPSILON)
        kept = guided_filter(kept, kept, radius, deviation**2)
        textures.append(finer - kept)
        edges.append(kept - smooth)
    return smooth, textures, edges


def _injection(infrared: Tensor, visible: Tensor) -> Tensor:
    """Return lambda, `(B, 1, 1, 1)`, from the ratio of the saliencies of both images."""
    ratio = divide(_perceptual_saliency(infrared), _perceptual_saliency(visible), 1.0)
    between = 2500.0 * ratio - 1900.0
    return torch.where(ratio < 0.8, 100.0, torch.where(ratio > 1.6, 2000.0, between))


def _perceptual_saliency(images: Tensor) -> Tensor:
    """Return the visible contrast of tiles, weighted by their edges, `(B, 1, 1, 1)`."""
    height, width = images.shape[-2:]
    if height < 3 or width < 3:
        return images.new_zeros(len(images), 1, 1, 1)
    squares = _squared_gradient(images)
    images = images[..., 1:-1, 1:-1]
    energy = images.new_zeros(len(images), 1, 1, 1)
    edges = images.new_zeros(len(images), 1, 1, 1)
    for tile, part in zip(_tiles(images), _tiles(squares), strict=True):
        filtered = torch.fft.fft2(tile) * _contrast_sensitivity(tile)
        power = (filtered.real**2 + filtered.imag**2).sum(dim=(-2, -1), keepdim=True)
        amplitude = power.sqrt() / (tile.shape[-1] * tile.shape[-2])
        edge = part.sum(dim=(-2, -1), keepdim=True)
        energy, edges = energy + amplitude * edge, edges + edge
    return divide(energy, edges, 0.0)


def _squared_gradient(images: Tensor) -> Tensor:
    """Return the squared Sobel gradient of the inner pixels."""
    above, middle, below = images[..., :-2, :], images[..., 1:-1, :], images[..., 2:, :]
    columns = above + 2.0 * middle + below
    horizontal = columns[..., 2:] - columns[..., :-2]
    rows = below - above
    vertical = rows[..., :-2] + 2.0 * rows[..., 1:-1] + rows[..., 2:]
    return horizontal**2 + vertical**2


def _tiles(images: Tensor) -> list[Tensor]:
    return [tile for row in images.split(_TILE, dim=-2) for tile in row.split(_TILE, dim=-1)]


def _contrast_sensitivity(tile: Tensor) -> Tensor:
    """Return the contrast sensitivity of the eye at the frequencies of a tile (Mannos-Sakrison)."""
    cycles = [
        32.0 * torch.fft.fftfreq(length, dtype=tile.dtype, device=tile.device)
        for length in tile.shape[-2:]
    ]
    frequency = torch.hypot(cycles[0].unsqueeze(1), cycles[1].unsqueeze(0))
    return 2.6 * (0.0192 + 0.114 * frequency) * torch.exp(-((0.114 * frequency) ** 1.1))


def build_hmsd_gf(
    parameters: HmsdGfParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del parameters, weights, device
    return hmsd_gf
