"""The reconstruction losses of the papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.choices import PixelNorm, Similarity
from fusion_core.metrics import gaussian_taps
from fusion_core.networks import constant

_PEAK = 255.0
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
_STRUCTURE_C2 = 0.03**2
"""The constant of the released code, which is meant for images in 0..1."""


class Losses(NamedTuple):
    """Losses of a batch, scalars."""

    total: Tensor
    pixel: Tensor
    ssim: Tensor
    """1 - SSIM, or 1 - its structure term, before its weight."""


def reconstruction_losses(
    outputs: Tensor,
    images: Tensor,
    *,
    pixel_norm: PixelNorm,
    ssim_weight: float,
    pixel_weight: float = 1.0,
    similarity: Similarity = "ssim",
) -> Losses:
    """Compute the loss of reconstructions.

    Args:
        outputs: `(B, 1, H, W)` float32, sides of at least 11 pixels.
        images: The images to reconstruct, in 0..255.
        pixel_norm: `euclidean` (Li & Wu, DenseFuse, 2019, Eq. 2) or `mse` (Song et al.,
            Res2NetFuse, 2021, Eq. 3).
        ssim_weight: Weight of 1 - SSIM.
        pixel_weight: Weight of the pixel loss.
        similarity: `ssim`, or `structure` (released code of DenseFuse and DeepFuse).
    """
    difference = outputs - images
    if pixel_norm == "euclidean":
        pixel = torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()
    else:
        pixel = difference.square().mean()
    loss = 1.0 - (ssim if similarity == "ssim" else structure)(outputs, images)
    return Losses(pixel_weight * pixel + ssim_weight * loss, pixel, loss)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity (Wang et al. 2004) with gradient, a scalar.

    Windows are Gaussian, 11x11 with sigma 1.5, and inside the images; the metric `SSIM` also uses
    those at the border, with the border pixels repeated. Computed in the precision of the
    arguments.

    Args:
        first: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.
        second: Likewise.
    """
    moments = _moments(first, second)
    mean_1, mean_2 = moments.mean_1, moments.mean_2
    luminance = (2.0 * mean_1 * mean_2 + _C1) / (mean_1.square() + mean_2.square() + _C1)
    return (luminance * moments.similarity(_C2)).mean()


def structure(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of SSIM's structure and contrast term with gradient, a scalar.

    It does not depend on the level of the images. The constant is 0.03², as in the released code of
    DenseFuse and DeepFuse. Arguments and windows are those of `ssim`.
    """
    return _moments(first, second).similarity(_STRUCTURE_C2).mean()


@dataclass(frozen=True, slots=True)
class _Moments:
    """Moments of two images in the windows."""

    mean_1: Tensor
    mean_2: Tensor
    variances: Tensor
    """Sum of both variances."""
    covariance: Tensor

    def similarity(self, constant: float) -> Tensor:
        """Return the structure and contrast term with a constant."""
        return (2.0 * self.covariance + constant) / (self.variances + constant)


def _moments(first: Tensor, second: Tensor) -> _Moments:
    # Centred on half of the range, because float32 variances are differences of large squares.
    first, second = first - _PEAK / 2, second - _PEAK / 2
    planes = torch.cat((first, second, first * first, second * second, first * second))
    mean_1, mean_2, square_1, square_2, product = _blur(planes).chunk(5)
    variances = square_1 - mean_1.square() + square_2 - mean_2.square()
    covariance = product - mean_1 * mean_2
    return _Moments(mean_1 + _PEAK / 2, mean_2 + _PEAK / 2, variances, covariance)


def _blur(planes: Tensor) -> Tensor:
    window = constant(tuple(gaussian_taps().tolist()), planes.device, planes.dtype)
    columns = functional.conv2d(planes, window.view(1, 1, -1, 1))
    return functional.conv2d(columns, window.view(1, 1, 1, -1))
