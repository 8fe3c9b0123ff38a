"""Metrics of a reconstruction against its original, for training tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.metrics.base import to_unit_range
from fusion_core.metrics.structural.ssim import ssim_with_both
from fusion_core.papers import Paper

Reconstruction: TypeAlias = NDArray[np.uint8] | NDArray[np.floating] | Tensor
"""`(H, W)` or `(B, 1, H, W)`, uint8 or floating point in 0..1."""


def ssim(reconstruction: Reconstruction, original: Reconstruction) -> Tensor:
    """Compute the structural similarity of a reconstruction and its original (SSIM).

    Wang, Bovik, Sheikh & Simoncelli 2004, Eq. 13 (https://doi.org/10.1109/TIP.2003.819861), with
    the windows and border of `ssim_a`.

    Args:
        reconstruction: `(H, W)` or `(B, 1, H, W)`, uint8 or floating point in 0..1.
        original: Of the same dtype and shape.

    Returns:
        -1..1 without a unit, float64 without gradient: a scalar tensor, or `(B,)` for a batch. It
        is always defined.

    Raises:
        InvalidValueError: The two are not images of one dtype and shape.

    Example:
        >>> import numpy as np
        >>> image = np.arange(64, dtype=np.uint8).reshape(8, 8)
        >>> round(ssim(image, image).item(), 12)
        1.0
    """
    x, y = _unit_planes(reconstruction, original)
    return _reshape(ssim_with_both(torch.stack((y, y, x)))[0], original)


def psnr(reconstruction: Reconstruction, original: Reconstruction) -> Tensor:
    """Compute the peak signal-to-noise ratio of a reconstruction (PSNR).

    PSNR = 10 log10(1 / MSE), with `mse` on 0..1.

    Args:
        reconstruction: `(H, W)` or `(B, 1, H, W)`, uint8 or floating point in 0..1.
        original: Of the same dtype and shape.

    Returns:
        Decibels, float64 without gradient: a scalar tensor, or `(B,)` for a batch. NaN for equal
        images.

    Raises:
        InvalidValueError: The two are not images of one dtype and shape.

    Example:
        >>> import numpy as np
        >>> black, gray = np.zeros((8, 8)), np.full((8, 8), 0.1)
        >>> round(psnr(gray, black).item(), 12)
        20.0
    """
    error = mse(reconstruction, original)
    return torch.where(error > 0.0, -10.0 * error.log10(), torch.nan)


def mse(reconstruction: Reconstruction, original: Reconstruction) -> Tensor:
    """Compute the mean squared error of a reconstruction on 0..1 (MSE).

    Args:
        reconstruction: `(H, W)` or `(B, 1, H, W)`, uint8 or floating point in 0..1.
        original: Of the same dtype and shape.

    Returns:
        0..1, float64 without gradient: a scalar tensor, or `(B,)` for a batch. It is always
        defined.

    Raises:
        InvalidValueError: The two are not images of one dtype and shape.

    Example:
        >>> import numpy as np
        >>> black, white = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
        >>> mse(white, black).item()
        1.0
    """
    x, y = _unit_planes(reconstruction, original)
    return _reshape((x - y).square().mean(dim=(1, 2)), original)


@dataclass(frozen=True)
class ReconstructionMetric:
    """A quality metric of a reconstruction, with all that a reader of its column must know.

    A metric is called with the reconstruction and the original.
    """

    name: str
    title: str
    compute: Callable[[Reconstruction, Reconstruction], Tensor]
    """Computes float64, NaN where the metric is undefined."""
    higher_is_better: bool
    range: str
    unit: str
    paper: Paper
    undefined: str = ""
    """When the definition gives no value."""

    def __call__(self, reconstruction: Reconstruction, original: Reconstruction) -> Tensor:
        """Compute the metric; see the function of its module."""
        return self.compute(reconstruction, original)


def _unit_planes(reconstruction: Reconstruction, original: Reconstruction) -> tuple[Tensor, Tensor]:
    """Check two images and bring them to 0..1: `(B, H, W)` float64 each."""
    images = [_to_tensor(image) for image in (reconstruction, original)]
    _check(*images)
    height, width = images[0].shape[-2:]
    first, second = (_to_unit(image.detach().reshape(-1, height, width)) for image in images)
    return first, second


def _to_tensor(image: Reconstruction) -> Tensor:
    return image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))


def _check(reconstruction: Tensor, original: Tensor) -> None:
    if reconstruction.shape != original.shape or reconstruction.dtype != original.dtype:
        raise InvalidValueError(
            "Expected reconstruction and original of one shape and dtype, but got "
            f"{tuple(reconstruction.shape)} {reconstruction.dtype} and "
            f"{tuple(original.shape)} {original.dtype}"
        )
    single, batch = original.ndim == 2, original.ndim == 4 and original.shape[1] == 1
    if not (single or batch) or original.numel() == 0:
        raise InvalidValueError(
            f"Expected images of shape (H, W) or (B, 1, H, W), but got {tuple(original.shape)}"
        )
    if original.dtype != torch.uint8 and not original.dtype.is_floating_point:
        raise InvalidValueError(f"Expected uint8 or floating point, but got {original.dtype}")


def _to_unit(planes: Tensor) -> Tensor:
    return to_unit_range(planes) if planes.dtype == torch.uint8 else planes.to(torch.float64)


def _reshape(values: Tensor, original: Reconstruction) -> Tensor:
    return values[0] if original.ndim == 2 else values


_SONG_2021 = Paper(
    authors="Song et al.",
    title="Res2NetFuse: A Fusion Method for Infrared and Visible Images",
    venue="arXiv",
    year=2021,
    link="https://arxiv.org/abs/2112.14540",
)
RECONSTRUCTION_METRICS: dict[str, ReconstructionMetric] = {
    metric.name: metric
    for metric in (
        ReconstructionMetric(
            name="SSIM",
            title="Structural similarity",
            compute=ssim,
            higher_is_better=True,
            range="-1..1",
            unit="1",
            paper=Paper(
                authors="Wang, Bovik, Sheikh & Simoncelli",
                title="Image quality assessment: From error visibility to structural similarity",
                venue="IEEE TIP",
                year=2004,
                link="https://doi.org/10.1109/TIP.2003.819861",
            ),
        ),
        ReconstructionMetric(
            name="PSNR",
            title="Peak signal-to-noise ratio",
            compute=psnr,
            higher_is_better=True,
            range="0 and above",
            unit="dB",
            paper=_SONG_2021,
            undefined="reconstruction and original are equal",
        ),
        ReconstructionMetric(
            name="MSE",
            title="Mean squared error",
            compute=mse,
            higher_is_better=False,
            range="0..1",
            unit="1",
            paper=_SONG_2021,
        ),
    )
}
