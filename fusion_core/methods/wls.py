"""Visual saliency map and weighted least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import box_mean, gaussian_blur, guided_filter
from fusion_core.methods.sources import divide, gray_histogram, round_gray, split_pair
from fusion_core.methods.specs.wls import WlsParameters

_SCALES = (2, 4, 8)
_GUIDANCE_STEPS = 4
_EDGE_VARIANCE = 0.05**2
_TINY = 1e-6


def wls(sources: Tensor, *, smoothness: float = 0.01) -> Tensor:
    """Fuse the bases by their visual saliency, and the details by weighted least squares.

    Ma, Zhou, Wang & Zong, "Infrared and visible image fusion based on visual saliency map and
    weighted least square optimization", Infrared Physics & Technology, 2017,
    https://doi.org/10.1016/j.infrared.2017.02.005. Rolling guidance filters split the sources into
    a base and four details. The linear system of the optimisation is diagonal, so that it is solved
    for each pixel alone.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        smoothness: lambda, how much the details follow those of the visible image.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Deviation: the published code needs 17 pixels in each direction; here windows are cut at the
    border, so that images of any size are fused.

    Example:
        >>> wls(torch.full((2, 1, 1, 4, 4), 9.0)).round(decimals=3).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "wls", scale=255.0, dtype=torch.float32)
    images = torch.stack((infrared, visible))
    details: list[Tensor] = []
    smooth = images
    for scale in _SCALES:
        smoother = _rolling_guidance(smooth, scale)
        details.append(smooth - smoother)
        smooth = smoother
    base = gaussian_blur(smooth, 13, 2.0, "replicate")
    details.append(smooth - base)
    saliency = _saliency(images)
    weight = 0.5 + 0.5 * (saliency[1] - saliency[0])
    fused = weight * base[1] + (1.0 - weight) * base[0]
    finest = details[0]
    fused = fused + torch.where(finest[0].abs() > finest[1].abs(), finest[0], finest[1])
    for detail in reversed(details[1:]):
        fused = fused + _fuse_detail(detail[0], detail[1], smoothness)
    return (255.0 * fused).float()


def _rolling_guidance(images: Tensor, scale: int) -> Tensor:
    """Remove what is smaller than a scale, and keep the edges of what is larger."""
    guide = gaussian_blur(images, 6 * scale + 1, scale, "replicate")
    for _ in range(_GUIDANCE_STEPS):
        guide = guided_filter(guide, images, scale, _EDGE_VARIANCE)
    return guide


def _saliency(images: Tensor) -> Tensor:
    """Return the mean difference of each pixel's gray level from all others, scaled to 0..1."""
    levels = images.flatten(0, 1) * 255.0
    counts = gray_histogram(levels)
    gray = torch.arange(256, dtype=torch.float64, device=images.device)
    contrast = (counts.unsqueeze(1) * (gray - gray.unsqueeze(1)).abs()).sum(dim=-1)
    maps = contrast.gather(1, round_gray(levels).long().flatten(1))
    low, high = maps.amin(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)
    return divide(maps - low, high - low, 0.0).view(images.shape).to(images.dtype)


def _fuse_detail(infrared: Tensor, visible: Tensor, smoothness: float) -> Tensor:
    stronger = (visible.abs() < infrared.abs()).to(infrared.dtype)
    weight = gaussian_blur(stronger, 13, 2.0, "symmetric")
    target = weight * infrared + (1.0 - weight) * visible
    pull = 2.0 * smoothness / (box_mean(infrared, 3, border="replicate").abs() + _TINY)
    return (2.0 * target + pull * visible) / (2.0 + pull)


def build_wls(
    parameters: WlsParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: wls(sources, smoothness=parameters.smoothness)
