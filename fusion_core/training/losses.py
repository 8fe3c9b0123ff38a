"""The reconstruction losses of the papers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.choices import PixelNorm
from fusion_core.metrics import gaussian_taps
from fusion_core.networks import constant

_PEAK = 255.0
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch, scalars."""

    total: Tensor
    pixel: Tensor
    ssim: Tensor
    """1 - SSIM, before its weight."""


def reconstruction_losses(
    outputs: Tensor, images: Tensor, *, pixel_norm: PixelNorm, ssim_weight: float
) -> Losses:
    """Compute the loss of reconstructions.

    Args:
        outputs: `(B, 1, H, W)` float32, sides of at least 11 pixels.
        images: The images to reconstruct, in 0..255.
        pixel_norm: `euclidean` (Li & Wu, DenseFuse, 2019, Eq. 2) or `mse` (Song et al.,
            Res2NetFuse, 2021, Eq. 3).
        ssim_weight: Weight of 1 - SSIM.
    """
    difference = outputs - images
    if pixel_norm == "euclidean":
        pixel = torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()
    else:
        pixel = difference.square().mean()
    loss = 1.0 - ssim(outputs, images)
    return Losses(pixel + ssim_weight * loss, pixel, loss)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity (Wang et al. 2004) with gradient, a scalar.

    Windows are Gaussian, 11x11 with sigma 1.5, and inside the images; the metric `SSIM` also uses
    those at the border, with the border pixels repeated. Computed in the precision of the
    arguments.

    Args:
        first: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.
        second: Likewise.
    """
    # Centred on half of the range, because float32 variances are differences of large squares.
    first, second = first - _PEAK / 2, second - _PEAK / 2
    planes = torch.cat((first, second, first * first, second * second, first * second))
    mean_1, mean_2, square_1, square_2, product = _blur(planes).chunk(5)
    variances = square_1 - mean_1.square() + square_2 - mean_2.square()
    covariance = product - mean_1 * mean_2
    mean_1, mean_2 = mean_1 + _PEAK / 2, mean_2 + _PEAK / 2
    luminance = (2.0 * mean_1 * mean_2 + _C1) / (mean_1.square() + mean_2.square() + _C1)
    structure = (2.0 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).mean()


def _blur(planes: Tensor) -> Tensor:
    window = constant(tuple(gaussian_taps().tolist()), planes.device).to(planes.dtype)
    columns = functional.conv2d(planes, window.view(1, 1, -1, 1))
    return functional.conv2d(columns, window.view(1, 1, 1, -1))
