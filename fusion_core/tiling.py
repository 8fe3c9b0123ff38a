"""Tiles: a large image through a convolutional network in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def map_tiles(
    function: Callable[[Tensor], Tensor], images: Tensor, *, tile: int, halo: int
) -> Tensor:
    """Apply a size-preserving function tile by tile, as if to the whole image.

    Args:
        function: Maps `(..., C, h, w)` to `(B, D, h, w)`; each output pixel depends on inputs at
            most `halo` pixels away. What it does at its own borders is right at the image's
            borders, and at a tile's inner borders falls into the halo, which is cut off.
        images: `(..., C, H, W)`.
        tile: Side of the square tiles in pixels, without halo.
        halo: Reach of the function in pixels.

    Returns:
        `(B, D, H, W)`.
    """
    height, width = images.shape[-2:]
    if height <= tile and width <= tile:
        return function(images)
    result: Tensor | None = None
    for top, bottom in _spans(height, tile):
        for left, right in _spans(width, tile):
            y, x = max(0, top - halo), max(0, left - halo)
            part = function(images[..., y : bottom + halo, x : right + halo])
            if result is None:
                result = part.new_empty((*part.shape[:2], height, width))
            inner = part[..., top - y : bottom - y, left - x : right - x]
            result[..., top:bottom, left:right] = inner
    return torch.empty(0) if result is None else result


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Cut a length into nearly equal parts of at most `tile`."""
    count = -(-length // tile)
    edges = [length * i // count for i in range(count + 1)]
    yield from itertools.pairwise(edges)
