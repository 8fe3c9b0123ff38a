"""Colour: BT.601 luma and chroma in full range (the JPEG convention)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusion_core.images.acceleration import loaded_kernels

if TYPE_CHECKING:
    from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)
_THOUSANDTHS = (299, 587, 114)
"""The same as whole numbers, so that ties are rounded up whatever the device."""
_CB_SCALE, _CR_SCALE = 1.772, 1.402


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the gray image that metrics and gray fusion use.

    Args:
        image: `(H, W)`, which is returned unchanged, or `(H, W, 3)` RGB.

    Returns:
        `(H, W)` uint8: `0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601), rounded half up.

    >>> luma(np.uint8([[[255, 0, 0], [0, 0, 255]]])).tolist()
    [[76, 29]]
    """
    if image.ndim == 2:
        return image
    kernels = loaded_kernels()
    if kernels is None:
        red, green, blue = (image[..., c].astype(np.uint32) for c in range(3))
        thousandths = _THOUSANDTHS[0] * red + _THOUSANDTHS[1] * green + _THOUSANDTHS[2] * blue
        return ((thousandths + 500) // 1000).astype(np.uint8)
    gray = np.empty(image.shape[:2], np.uint8)
    kernels.weigh_channels(np.ascontiguousarray(image).reshape(-1, 3), gray.reshape(-1))
    return gray


def luma_on_device(images: Tensor) -> Tensor:
    """Return the luma of images on the device where they are; equal to `luma` to the last bit.

    Args:
        images: `(..., H, W, 3)` RGB, uint8.

    Returns:
        `(..., H, W)` uint8.

    >>> import torch
    >>> luma_on_device(torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8))
    tensor([[[76]]], dtype=torch.uint8)
    """
    import torch  # here, because luma is of arrays and must not wait for this import

    if images.device.type == "cpu":
        gray = luma(images.flatten(0, -3).numpy())
        return torch.from_numpy(gray).reshape(images.shape[:-1])
    red, green, blue = images.to(torch.int32).unbind(-1)
    thousandths = _THOUSANDTHS[0] * red + _THOUSANDTHS[1] * green + _THOUSANDTHS[2] * blue
    return ((thousandths + 500) // 1000).to(torch.uint8)


def rgb_to_ycbcr(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split RGB into luma and chroma (ITU-R BT.601 in full range, the JPEG convention).

    Args:
        rgb: `(B, 3, H, W)` float in 0..255.

    Returns:
        Y in 0..255, and Cb and Cr in -127.5..127.5, each `(B, 1, H, W)`.
    """
    red, green, blue = rgb.split(1, dim=1)
    y = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return y, (blue - y) / _CB_SCALE, (red - y) / _CR_SCALE


def ycbcr_to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """Join luma and chroma to RGB, the inverse of `rgb_to_ycbcr`.

    Args:
        y: `(B, 1, H, W)` float in 0..255.
        cb: `(B, 1, H, W)` float.
        cr: `(B, 1, H, W)` float.

    Returns:
        `(B, 3, H, W)` float; values outside the RGB cube are clipped to 0..255.
    """
    import torch  # here, because luma is of arrays and must not wait for this import

    red = y + _CR_SCALE * cr
    blue = y + _CB_SCALE * cb
    green = (y - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
    return torch.cat((red, green, blue), dim=1).clamp(0.0, 255.0)
