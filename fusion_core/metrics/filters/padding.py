"""Images with a border."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages

Border = Literal["constant", "reflect", "replicate"]
"""Zeros, the image mirrored without its last pixel, or its last pixel repeated, as in PyTorch."""


def padded_unit(images: GrayImages, radius: int, border: Border) -> Tensor:
    """Return images on 0..1 with a border: `(…, H + 2 * radius, W + 2 * radius)` float64."""
    if not dispatch.use_kernels(images.gray):
        planes = images.unit.flatten(0, -3).unsqueeze(0)
        padded = functional.pad(planes, (radius,) * 4, mode=border).squeeze(0)
    else:
        from fusion_core.metrics.filters.padding_kernels import pad_units

        rows, columns = (
            _indices(length, radius, border) for length in (images.height, images.width)
        )
        planes = images.gray.flatten(0, -3)
        padded = torch.empty(len(planes), len(rows), len(columns), dtype=torch.float64)
        pad_units(planes.numpy(), rows, columns, radius, padded.numpy())
    return padded.view(*images.gray.shape[:-2], *padded.shape[-2:])


def _indices(length: int, radius: int, border: Border) -> NDArray[np.int64]:
    """Return the index of the pixel at each position along one axis, -1 for zeros."""
    positions = np.arange(-radius, length + radius)
    found: NDArray[np.int64] = positions.clip(0, length - 1)
    if border == "reflect":
        found = length - 1 - np.abs(length - 1 - np.abs(positions))
    elif border == "constant":
        found = np.where(found == positions, positions, -1)
    return found
