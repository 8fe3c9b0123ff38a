"""The mean over a square window around each pixel."""

from __future__ import annotations

from torch import Tensor

from fusion_core.filters.borders import Border, pad


def box_mean(maps: Tensor, radius: int, *, border: Border) -> Tensor:
    """Average over square windows of side `2 radius + 1`.

    The number of additions grows with the logarithm of the radius. Those of one window follow one
    order wherever the window lies, so that the mean does not depend on the batch or the tile, and
    nothing is subtracted, so that small values next to large ones keep their precision.

    Args:
        maps: `(..., H, W)`, floating point.
        radius: Radius of the windows in pixels.
        border: What lies beyond the border.

    Returns:
        `(..., H, W)`.

    >>> import torch
    >>> box_mean(torch.tensor([[0.0, 0.0, 9.0]]), 1, border="replicate").tolist()
    [[0.0, 3.0, 6.0]]
    >>> box_mean(torch.tensor([[0.0, 0.0, 9.0]]), 1, border="zero").tolist()
    [[0.0, 1.0, 1.0]]
    """
    if radius == 0:
        return maps
    size = 2 * radius + 1
    sums = maps.reshape(-1, 1, *maps.shape[-2:])
    for dim, margins in ((-2, (radius, radius, 0, 0)), (-1, (0, 0, radius, radius))):
        sums = sliding_sums(pad(sums, margins, border), size, dim)
    return (sums / size**2).view(maps.shape)


def sliding_sums(maps: Tensor, size: int, dim: int) -> Tensor:
    """Sum `size` neighbours along a dimension, which becomes `size - 1` shorter.

    >>> import torch
    >>> sliding_sums(torch.tensor([1, 2, 3, 4]), 3, 0).tolist()
    [6, 9]

    A window is the sum of blocks whose lengths are powers of two, one for each binary digit 1 of
    the size, and each block is the sum of two of half its length.
    """
    length = maps.shape[dim] - size + 1
    total: Tensor | None = None
    blocks, block, offset = maps, 1, 0
    while True:
        if size & block:
            part = blocks.narrow(dim, offset, length)
            total = part if total is None else total + part
            offset += block
        if 2 * block > size:
            assert total is not None
            return total
        fewer = blocks.shape[dim] - block
        blocks = blocks.narrow(dim, 0, fewer) + blocks.narrow(dim, block, fewer)
        block *= 2
