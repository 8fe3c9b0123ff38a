"""Metrics of a reconstruction against its original, for training tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.metrics.base import to_unit_range
from fusion_core.metrics.structural.ssim import ssim_with_both


@dataclass(frozen=True)
class ReconstructionMetric:
    """A quality metric of a reconstruction with what a reader of its column must know."""

    name: str
    title: str
    measure: Callable[[Tensor, Tensor], Tensor]
    """Two images `(B, H, W)` float64 in 0..1 to `(B,)` float64, NaN where undefined."""
    higher_is_better: bool
    range: str
    unit: str
    paper: str
    undefined: str = ""
    """When the definition gives no value."""

    def compute(self, reconstruction: Tensor, original: Tensor) -> Tensor:
        """Compute the metric.

        Args:
            reconstruction: `(B, 1, H, W)` uint8, or floating point in 0..1.
            original: Likewise, of the same dtype and shape.

        Returns:
            `(B,)` float64, on the images' device, without gradient; NaN where undefined.

        Raises:
            InvalidValueError: The two are not images of one dtype and shape.
        """
        _check(reconstruction, original)
        return self.measure(_to_double(reconstruction), _to_double(original))


def ssim(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), as in `SSIM_a`: -1..1."""
    return ssim_with_both(torch.stack((original, original, reconstruction)))[0]


def psnr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, 10 log10(1 / MSE): decibels. NaN for equal images."""
    error = mse(reconstruction, original)
    return torch.where(error > 0.0, -10.0 * error.log10(), torch.nan)


def mse(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Mean squared error of images in 0..1."""
    return (reconstruction - original).square().mean(dim=(1, 2))


def _check(reconstruction: Tensor, original: Tensor) -> None:
    if reconstruction.shape != original.shape or reconstruction.dtype != original.dtype:
        raise InvalidValueError(
            "Expected reconstruction and original of one shape and dtype, but got "
            f"{tuple(reconstruction.shape)} {reconstruction.dtype} and "
            f"{tuple(original.shape)} {original.dtype}"
        )
    if original.ndim != 4 or original.shape[1] != 1 or original.numel() == 0:
        raise InvalidValueError(
            f"Expected images of shape (B, 1, H, W), but got {tuple(original.shape)}"
        )
    if original.dtype != torch.uint8 and not original.dtype.is_floating_point:
        raise InvalidValueError(f"Expected uint8 or floating point, but got {original.dtype}")


def _to_double(image: Tensor) -> Tensor:
    plane = image.detach().squeeze(1)
    return to_unit_range(plane) if image.dtype == torch.uint8 else plane.to(torch.float64)


RECONSTRUCTION_METRICS: dict[str, ReconstructionMetric] = {
    metric.name: metric
    for metric in (
        ReconstructionMetric(
            name="SSIM",
            title="Structural similarity",
            measure=ssim,
            higher_is_better=True,
            range="-1..1",
            unit="1",
            paper="Wang et al. 2004",
        ),
        ReconstructionMetric(
            name="PSNR",
            title="Peak signal-to-noise ratio",
            measure=psnr,
            higher_is_better=True,
            range="0 and above",
            unit="dB",
            paper="Song et al., Res2NetFuse, Table III",
            undefined="reconstruction and original are equal",
        ),
        ReconstructionMetric(
            name="MSE",
            title="Mean squared error",
            measure=mse,
            higher_is_better=False,
            range="0..1",
            unit="1",
            paper="Song et al., Res2NetFuse, Table III",
        ),
    )
}
