"""Sums and moments over windows, on the CPU and on other devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch
from fusion_core.networks.devices import constant

_BAND_PIXELS = 1 << 15
"""Pixels of a plane that the CPU processes at once, so that intermediate results stay cached."""


class Moments(NamedTuple):
    """Means, variances and covariances of A, B and F in windows."""

    mean: Tensor
    """Of A, B and F: `(3, B, H, W)`."""
    variance: Tensor
    """Of A, B and F: `(3, B, H, W)`. Rounding may leave values a little below 0."""
    covariance: Tensor
    """Of A and F, B and F, and where requested of A and B: `(2 or 3, B, H, W)`."""

    def similarity(self, source: int, c1: float, c2: float) -> Tensor:
        """Return SSIM of F with A (0) or B (1) in each window; see `similarity`."""
        x, y = (source, 2)
        return similarity(
            self.mean[x], self.mean[y], self.variance[x], self.variance[y], self.covariance[x],
            c1, c2,
        )  # fmt: skip

    def similarity_of_sources(self, c1: float, c2: float) -> Tensor:
        """Return SSIM of A with B in each window, whose covariance has been requested."""
        (mean_a, mean_b, _), (variance_a, variance_b, _) = self.mean, self.variance
        return similarity(mean_a, mean_b, variance_a, variance_b, self.covariance[2], c1, c2)


def similarity(
    mean_x: Tensor,
    mean_y: Tensor,
    variance_x: Tensor,
    variance_y: Tensor,
    covariance: Tensor,
    c1: float,
    c2: float,
) -> Tensor:
    """Return SSIM in each window, from moments of one shape (Wang et al. 2004, Eq. 13)."""
    top = (mean_x * mean_y).mul_(2.0).add_(c1).mul_(covariance.mul(2.0).add_(c2))
    bottom = (mean_x * mean_x).addcmul_(mean_y, mean_y).add_(c1)
    return top.div_(bottom.mul_((variance_x + variance_y).add_(c2)))


def gaussian_taps(size: int = 11, sigma: float = 1.5) -> Tensor:
    """Return a Gaussian window along one axis: `(size,)` float64, sum 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2.0
    taps = torch.exp(-(offsets**2) / (2.0 * sigma**2))
    return taps / taps.sum()


def row_bands(images: Tensor, size: int) -> Iterator[Tensor]:
    """Cut images into bands of rows, so that each window lies in one band.

    Args:
        images: `(…, H, W)`, H at least the size.
        size: Side of the windows in pixels.

    Yields:
        Views `(…, rows + size - 1, W)`: one for other devices than the CPU, where memory traffic of
        intermediate results matters less than the number of operations.
    """
    windows = images.shape[-2] - size + 1
    rows = max(1, _BAND_PIXELS // images.shape[-1]) if images.device.type == "cpu" else windows
    for y in range(0, windows, rows):
        yield images[..., y : y + rows + size - 1, :]


def window_sums(planes: Tensor, taps: Tensor, step: int = 1) -> Tensor:
    """Sum planes over windows that fit.

    Args:
        planes: `(…, H, W)` float64.
        taps: `(n,)` float64 on the CPU, the window along either axis, symmetric, n odd.
        step: Distance of the rows of windows.

    Returns:
        `(…, (H - n) // step + 1, W - n + 1)`.
    """
    if not dispatch.use_kernels(planes):
        return _convolve(planes, taps, step)
    from fusion_core.metrics.filters.kernels import sum_windows

    height, width = (length - len(taps) + 1 for length in planes.shape[-2:])
    height = (height - 1) // step + 1
    sums = planes.new_empty(*planes.shape[:-2], height, width)
    flat = planes.reshape(-1, *planes.shape[-2:]).contiguous()
    sum_windows(flat.numpy(), taps.numpy(), step, sums.view(-1, height, width).numpy())
    return sums


def window_moments(images: Tensor, taps: Tensor, *, of_sources: bool = False) -> Moments:
    """Compute the moments of A, B and F in all windows that fit.

    Args:
        images: `(3, B, H, W)` float64.
        taps: `(n,)` float64 on the CPU, the window along either axis, symmetric, n odd, sum 1.
        of_sources: Whether to compute the covariance of A and B too.

    Returns:
        `(B, H - n + 1, W - n + 1)` each.
    """
    planes = images.new_empty(9 if of_sources else 8, *images.shape[1:])
    planes[:3] = images
    _multiply_pairs(images, planes[3:])
    sums = window_sums(planes, taps)
    sums[3:] -= _multiply_pairs(sums[:3], torch.empty_like(sums[3:]))
    return Moments(sums[:3], sums[3:6], sums[6:])


def _multiply_pairs(images: Tensor, products: Tensor) -> Tensor:
    """Write the squares of A, B and F and the products AF, BF and, if it has a place, AB."""
    a, b, f = images
    torch.mul(images, images, out=products[:3])
    for (x, y), product in zip(((a, f), (b, f), (a, b)), products[3:], strict=False):
        torch.mul(x, y, out=product)
    return products


def _convolve(planes: Tensor, taps: Tensor, step: int) -> Tensor:
    """Filter columns, then rows, each plane as a channel of its own.

    CUDA has a direct kernel for such convolutions, which reads each plane once.
    """
    channels = planes.reshape(1, -1, *planes.shape[-2:])
    window = constant(tuple(taps.tolist()), planes.device, planes.dtype)
    window = window.expand(channels.shape[1], 1, len(taps))
    down = functional.conv2d(
        channels, window.unsqueeze(3), stride=(step, 1), groups=channels.shape[1]
    )
    sums = functional.conv2d(down, window.unsqueeze(2), groups=channels.shape[1])
    return sums.view(*planes.shape[:-2], *sums.shape[-2:])
