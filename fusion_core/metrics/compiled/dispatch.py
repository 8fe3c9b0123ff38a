"""The choice between kernels compiled for the CPU and tensor operations on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def use_kernels(images: Tensor) -> bool:
    """Return whether the compiled kernels can take these images."""
    return images.device.type == "cpu"


def each_pair(kernel: Callable[..., Any], planes: Tensor, *arguments: Any) -> Tensor:  # noqa: ANN401
    """Call a kernel with A, B and F of each pair.

    Args:
        kernel: Takes `(3, H, W)` and the arguments, and returns a number or a tuple of numbers.
        planes: `(3, B, H, W)` on the CPU.
        *arguments: Further arguments of the kernel.

    Returns:
        `(B,)` or `(B, N)` float64.
    """
    pairs = (np.ascontiguousarray(pair) for pair in planes.transpose(0, 1).numpy())
    return torch.tensor([kernel(pair, *arguments) for pair in pairs], dtype=torch.float64)
