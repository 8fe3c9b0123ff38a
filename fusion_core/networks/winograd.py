"""3x3 convolutions on a CPU by Winograd's minimal filtering, F(4x4, 3x3).

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
https://doi.org/10.1109/CVPR.2016.435. A tile of 4x4 results takes 36 products per pair of channels
instead of 144: tiles of 6x6 are transformed, multiplied as matrices of channels, and transformed
back. The points of interpolation are 0, ±sqrt(1/2), ±sqrt(2) and infinity instead of the paper's 0,
±1, ±2 and infinity, for a smaller error: about 1e-6 of the largest value.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor, nn

_TILE = 36
_STEP = 4
_LANES = 16
"""Channels that the transforms process at once."""
_BLOCK = 96
"""Tiles that are transformed before they are multiplied: enough for a fast product of matrices, and
few enough for the cache."""


class WinogradConv2d(nn.Module):
    """A 3x3 convolution with stride 1, in half of the time of a direct one.

    Inputs on other devices, of other types, or that require gradients are convolved directly. The
    result for an image does not depend on the other images of the batch.

    Args:
        convolution: Convolution whose parameters are shared; see `can_transform`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        _compile()
        self.convolution = convolution
        self.kernel_size = convolution.kernel_size
        self.out_channels = convolution.out_channels
        self._padding = int(convolution.padding[0])
        self._filters = transform_filters(convolution.weight)
        bias = convolution.bias
        self._bias = torch.zeros(len(convolution.weight)) if bias is None else bias

    def forward(self, features: Tensor) -> Tensor:
        """Convolve `(N, C, H, W)` to `(N, K, H', W')`, channels last."""
        if not self.takes(features):
            return self.convolution(features)  # type: ignore[no-any-return]
        height, width = (side + 2 * self._padding - 2 for side in features.shape[-2:])
        shape = len(features), len(self._bias), height, width
        target = torch.empty(shape, memory_format=torch.channels_last)
        convolve(features, self._filters, self._bias, target, padding=self._padding)
        return target

    def takes(self, features: Tensor) -> bool:
        """Whether the input is one that is not convolved directly."""
        on_cpu = features.device.type == "cpu" and features.dtype == torch.float32
        return on_cpu and not features.requires_grad

    def rectify_into(self, features: Tensor, target: Tensor) -> None:
        """Convolve an input that it takes, and write the result after ReLU.

        Args:
            features: `(N, C, H, W)`.
            target: `(N, K, H', W')`, which may be a part of larger maps, channels last.
        """
        convolve(features, self._filters, self._bias, target, padding=self._padding, least=0.0)


def can_transform(module: nn.Module) -> bool:
    """Whether a module is a convolution that `WinogradConv2d` can replace."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding in ((0, 0), (1, 1))
        and module.padding_mode == "zeros"
        and module.groups == 1
        and module.in_channels % _LANES == module.out_channels % _LANES == 0
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
    )


def transform_filters(weight: Tensor) -> Tensor:
    """Transform filters `(K, C, 3, 3)` to `(36, C, K)`, each `G g G^T` of the paper."""
    points = [0.0, 0.5**0.5, -(0.5**0.5), 2.0**0.5, -(2.0**0.5)]
    rows = []
    for point in points:
        scale = math.prod(point - other for other in points if other != point)
        rows.append([point**power / scale for power in range(3)])
    matrix = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    transformed = torch.einsum("ia,kcab,jb->ijck", matrix, weight.detach().double(), matrix)
    return transformed.flatten(0, 1).float().contiguous()


def convolve(
    features: Tensor,
    filters: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    padding: int,
    least: float = -math.inf,
) -> None:
    """Convolve images by transformed filters.

    Args:
        features: `(N, C, H, W)` float32 on the CPU.
        filters: `(36, C, K)` of `transform_filters`.
        bias: `(K,)`.
        target: Result `(N, K, H + 2 padding - 2, W + 2 padding - 2)`, channels last.
        padding: Zeros around the images, 0 or 1.
        least: Value to which lower results are raised.
    """
    from fusion_core.networks.winograd_kernels import transform_back, transform_tiles

    if features.stride(1) != 1:
        features = features.contiguous(memory_format=torch.channels_last)
    channels, height, width = features.shape[1:]
    out, rows, columns = target.shape[1:]
    tiles = -(-rows // _STEP) * -(-columns // _STEP)
    if target.numel() == 0:
        return
    block = -(-tiles // -(-tiles // _BLOCK))  # of nearly equal size
    products, sums = torch.empty(_TILE, block, channels), torch.empty(_TILE, block, out)
    source, results = _flat(features), _flat(target)
    places, flat_sums, flat_bias = _flat(products), _flat(sums), _flat(bias)
    steps, size = (features.stride(2), features.stride(3)), (height, width, channels)
    steps_back, size_back = (target.stride(2), target.stride(3)), (rows, columns, out)
    lowest = np.float32(least)
    for image in range(len(features)):
        start, end = image * features.stride(0), image * target.stride(0)
        for first in range(0, tiles, block):
            part = min(block, tiles - first)
            transform_tiles(source, start, steps, size, padding, first, part, places)
            torch.bmm(products, filters, out=sums)
            transform_back(
                flat_sums, flat_bias, lowest, first, part, results, end, steps_back, size_back
            )


@functools.cache
def _compile() -> None:
    """Compile the kernels, or load them from disk, before they are used."""
    image = torch.zeros(1, _LANES, 4, 4).to(memory_format=torch.channels_last)
    filters = torch.zeros(_TILE, _LANES, _LANES)
    convolve(image, filters, torch.zeros(_LANES), torch.empty_like(image), padding=1)


def _flat(values: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the memory from the first to the last value."""
    ends = zip(values.shape, values.stride(), strict=True)
    length = 1 + sum((size - 1) * step for size, step in ends)
    return values.detach().as_strided((length,), (1,)).numpy()
