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


def each_pair(
    kernel: Callable[..., Any],
    sources: Tensor,
    fused: Tensor,
    *arguments: Any,  # noqa: ANN401
) -> Tensor:
    """Call a kernel with A, B and F of each pair.

    Args:
        kernel: Takes A, B and F as `(H, W)` each and the arguments, and returns a number or a tuple
            of numbers.
        sources: `(2, B, H, W)` on the CPU, or `(2, 1, H, W)` if all fused images share one pair.
        fused: `(B, H, W)`.
        *arguments: Further arguments of the kernel.

    Returns:
        `(B,)` or `(B, N)` float64.
    """
    a, b, f = (np.ascontiguousarray(planes.numpy()) for planes in (*sources, fused))
    last = len(a) - 1
    pairs = ((a[min(n, last)], b[min(n, last)], f[n]) for n in range(len(f)))
    return torch.tensor([kernel(*pair, *arguments) for pair in pairs], dtype=torch.float64)
