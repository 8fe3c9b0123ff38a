"""Resizing of maps and images."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.filters.borders import continue_indices

_KEYS = -0.5
"""The a of Keys' cubic kernel, as in MATLAB."""


def nearest(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Repeat each pixel of `(..., h, w)` `factor` times in both directions, and crop to `size`.

    >>> nearest(torch.tensor([[1, 2]]), 2, (2, 3)).tolist()
    [[1, 1, 2], [1, 1, 2]]
    """
    enlarged = maps.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    return enlarged[..., : size[0], : size[1]]


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge `(K, B, h, w)` to `size`, interpolated between pixel centres, the border repeated."""
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def bicubic(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as MATLAB's `imresize(maps, size)` does.

    Keys' cubic convolution with a = -0.5 (R. Keys, 1981) between pixel centres, with the map
    mirrored at its borders. Where a map shrinks, the kernel is widened, so that it does not alias.
    Torch's own has another kernel (a = -0.75) and border.

    Args:
        maps: `(..., h, w)` float32 or float64.
        size: Height and width.

    Returns:
        `(..., H, W)`; may overshoot the range of the maps.
    """
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    vertical = _cubic_matrix(height, size[0], maps.device, maps.dtype)
    horizontal = _cubic_matrix(width, size[1], maps.device, maps.dtype)
    return vertical @ (maps @ horizontal.mT)


def imresize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize 8-bit images as MATLAB's `imresize(images, size)` does, larger or smaller.

    As `bicubic`, with the result rounded to whole gray levels after each dimension, of which the
    one that changes by the smaller factor is first.

    Args:
        images: `(..., h, w)` float64, whole gray levels in 0..255.
        size: Height and width.

    Returns:
        `(..., H, W)` float64, whole gray levels in 0..255.
    """
    scales = [new / old for new, old in zip(size, images.shape[-2:], strict=True)]
    for dim in (-2, -1) if scales[0] <= scales[1] else (-1, -2):
        length, new_length = images.shape[dim], size[dim]
        if length == new_length:
            continue
        matrix = _cubic_matrix(length, new_length, images.device, torch.float64)
        resized = matrix @ images if dim == -2 else images @ matrix.mT
        images = (resized + 0.5).floor().clamp(0.0, 255.0)
    return images


@functools.lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _cubic_matrix(length: int, new_length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the `(new_length, length)` matrix that resizes a column."""
    scale = new_length / length
    shrink = min(scale, 1.0)
    taps = math.ceil(4.0 / shrink) + (shrink < 1.0)
    positions = (torch.arange(new_length, dtype=torch.float64) + 0.5) / scale - 0.5
    first = (positions - 2.0 / shrink).floor().long() + 1
    matrix = torch.zeros(new_length, length, dtype=torch.float64)
    for tap in range(taps):
        distance = (positions - (first + tap)).abs() * shrink
        near = ((_KEYS + 2.0) * distance - (_KEYS + 3.0)) * distance**2 + 1.0
        far = ((distance - 5.0) * distance + 8.0) * distance * _KEYS - 4.0 * _KEYS
        weight = torch.where(distance <= 1.0, near, torch.where(distance < 2.0, far, 0.0))
        columns = continue_indices(first + tap, length, "symmetric")
        matrix.scatter_add_(1, columns.unsqueeze(1), weight.unsqueeze(1))
    return (matrix / matrix.sum(dim=1, keepdim=True)).to(device, dtype)
