"""The choice between kernels compiled for the CPU and tensor operations on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
    values = [kernel(*pair, *arguments) for pair in each_triple(sources, fused)]
    return torch.tensor(values, dtype=torch.float64)


def each_triple(sources: Tensor, fused: Tensor) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield A, B and F of each pair as `(H, W)`, from the images that `each_pair` takes."""
    a, b, f = (np.ascontiguousarray(planes.numpy()) for planes in (*sources, fused))
    last = len(a) - 1
    for n in range(len(f)):
        yield a[min(n, last)], b[min(n, last)], f[n]
