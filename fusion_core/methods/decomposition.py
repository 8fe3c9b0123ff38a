"""Two-scale decomposition of an image into base and detail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusion_core.filters import box_mean, pad


def tikhonov(images: Tensor, *, smoothness: float = 5.0, padding: int = 16) -> Tensor:
    """Return the base that minimises `|I - B|^2 + smoothness (|gx * B|^2 + |gy * B|^2)`.

    Li, Wu & Kittler, "Infrared and Visible Image Fusion using a Deep Learning Framework", 2018,
    Eq. 1, with the gradients `gx = [-1 1]` and `gy` its transpose. The minimum has a closed form in
    the Fourier domain if the image is periodic; it is made so by mirroring a border of pixels.

    Args:
        images: `(..., H, W)` float32, any H and W.
        smoothness: lambda of Eq. 1.
        padding: Mirrored pixels on each side (the paper's code: 16).

    Returns:
        `(..., H, W)` float32. The detail (Eq. 2) is `images` less this.
    """
    height, width = images.shape[-2:]
    padded = pad(images, (padding,) * 4, "symmetric")
    spectrum = torch.fft.rfft2(padded)
    vertical = _gradient_power(padded.shape[-2], padded.shape[-2], images.device).unsqueeze(-1)
    horizontal = _gradient_power(padded.shape[-1], spectrum.shape[-1], images.device)
    smooth: Tensor = torch.fft.irfft2(
        spectrum / (1.0 + smoothness * (vertical + horizontal)), s=padded.shape[-2:]
    )
    return smooth[..., padding : padding + height, padding : padding + width]


def _gradient_power(length: int, count: int, device: torch.device) -> Tensor:
    """Return `|DFT([-1 1])|^2` at the first `count` of `length` frequencies."""
    frequencies = torch.arange(count, device=device, dtype=torch.float32)
    return 2.0 - 2.0 * torch.cos(frequencies * (2.0 * math.pi / length))


def mean_filter(images: Tensor, *, size: int = 31) -> Tensor:
    """Average over square blocks; beyond the border the border pixel is repeated.

    Zhang et al., "An infrared and visible image fusion algorithm based on ResNet-152", 2022, Eq. 1.
    The paper does not specify the treatment of the border.

    Args:
        images: `(..., H, W)` float32, any H and W.
        size: Side of the block, odd.

    Returns:
        `(..., H, W)` float32.
    """
    return box_mean(images, size // 2, border="replicate")
