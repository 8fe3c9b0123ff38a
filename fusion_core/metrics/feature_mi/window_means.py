"""Mean mutual information over all windows of feature maps, on other devices than the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled.trial import try_kernel
from fusion_core.metrics.feature_mi.distributions import describe_windows, window_information

NOISE = 2.0**-46
"""Differences within a window up to this value count as zero; the maps' range is 1.

Coefficients that are equal in exact arithmetic, such as those of flat areas, differ in float64 by
up to 2e-15, depending on the order of operations, and windows of noise score anything. Published
values move by less than 1e-5, and only where an image holds large flat areas.
"""
_BUDGET = 1 << 20
"""Windows that are compared at once."""


def mean_information(maps: Tensor) -> Tensor:
    """Compute the mean FMI of F with A and of F with B over all 3x3 windows.

    On CUDA one Triton kernel compares all windows, instead of hundreds of tensor operations, where
    Triton can compile it.

    Args:
        maps: Feature maps of A, B and F: `(3, B, H, W)` float64.

    Returns:
        `(B,)` float64.
    """
    kernel = _triton_kernel(maps.device) if maps.is_cuda else None
    return compare_windows(maps) if kernel is None else kernel(maps, NOISE)


@functools.cache
def _triton_kernel(device: torch.device) -> Callable[[Tensor, float], Tensor] | None:
    """Return the kernel if it can be used on a device, which is tried once per process."""
    maps = torch.linspace(0.0, 100.0, 3 * 12 * 16, dtype=torch.float64, device=device).sin_()
    maps = maps.view(3, 1, 12, 16)
    return try_kernel(_load, (maps, NOISE), compare_windows(maps), metrics="FMI_dct and FMI_w")


def _load() -> Callable[[Tensor, float], Tensor]:
    from fusion_core.metrics.feature_mi.fmi_triton import feature_information

    return feature_information


def compare_windows(maps: Tensor) -> Tensor:
    """Compute what `mean_information` returns by tensor operations.

    Differences within windows are taken in float64; float32 after that moves the mean of an image
    by less than 2e-7 and takes half the memory traffic, which is what bounds a GPU.
    """
    batch, height, width = maps.shape[1], maps.shape[2] - 2, maps.shape[3] - 2
    total = torch.zeros(batch, dtype=torch.float64, device=maps.device)
    step = max(1, _BUDGET // (batch * width))
    for y in range(0, height, step):
        rows = maps[:, :, y : y + step + 2]
        windows = rows.unfold(2, 3, 1).unfold(3, 3, 1)
        # (3, B, rows, W - 2, 3, 3) to 9 values, column by column, of each window
        a, b, f = windows.permute(0, 5, 4, 1, 2, 3).flatten(1, 2).flatten(2)
        fused = describe_windows(f, NOISE, torch.float32)
        for n, source in enumerate((a, b)):
            values = window_information(describe_windows(source, NOISE, torch.float32), fused)
            values = values.view(batch, -1, width).masked_fill_(_identical(rows[n], rows[2]), 1.0)
            total += values.sum(dim=(1, 2), dtype=torch.float64)
    return total / (2 * height * width)


def _identical(first: Tensor, second: Tensor) -> Tensor:
    """Whether the 3x3 windows of two maps `(B, H, W)` are the same: `(B, H - 2, W - 2)`."""
    difference = (first - second).abs_().unsqueeze(1)
    return functional.max_pool2d(difference, 3, stride=1).squeeze(1) <= NOISE
