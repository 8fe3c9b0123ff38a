"""Tiles, to apply a convolutional network to a large image in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image, with a halo of neighbouring pixels inside the image."""

    top: int
    bottom: int
    left: int
    right: int
    """Borders of the part itself."""
    y: int
    x: int
    """Position of the part with its halo."""
    halo: int

    def crop(self, images: Tensor) -> Tensor:
        """Crop the part with its halo from `(..., H, W)`."""
        return images[..., self.y : self.bottom + self.halo, self.x : self.right + self.halo]

    def put(self, cropped: Tensor, target: Tensor, *, stride: int = 1) -> None:
        """Write the part without its halo to its position in the target.

        Args:
            cropped: Output for the cropped part, `(..., h, w)`, `stride` times smaller.
            target: `(..., H, W)`, `stride` times smaller than the image.
            stride: Pixels of the image for each pixel of the target; `y` and `x` are its multiples.
        """
        top, bottom = self.top // stride, -(-self.bottom // stride)
        left, right = self.left // stride, -(-self.right // stride)
        y, x = self.y // stride, self.x // stride
        inner = cropped[..., top - y : bottom - y, left - x : right - x]
        target[..., top:bottom, left:right] = inner


def tiles(
    height: int, width: int, *, tile: int, halo: int, stride: int = 1, whole: int | None = None
) -> Iterator[Tile]:
    """Split an image into tiles of nearly equal size.

    Args:
        height: Height of the image.
        width: Width of the image.
        tile: Longest side of a tile in pixels, without halo.
        halo: Pixels added on each side, inside the image.
        stride: Tiles start at its multiples; it divides `tile` and `halo`.
        whole: Longest side that is not split; `tile` by default.
    """
    whole = tile if whole is None else whole
    for top, bottom in _spans(height, tile, stride, whole):
        for left, right in _spans(width, tile, stride, whole):
            y, x = max(0, top - halo), max(0, left - halo)
            yield Tile(top, bottom, left, right, y, x, halo)


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
        halo: Radius of the function's receptive field in pixels.

    Returns:
        `(B, D, H, W)`.
    """
    height, width = images.shape[-2:]
    if height <= tile and width <= tile:
        return function(images)
    result: Tensor | None = None
    for part in tiles(height, width, tile=tile, halo=halo):
        computed = function(part.crop(images))
        if result is None:
            result = computed.new_empty((*computed.shape[:2], height, width))
        part.put(computed, result)
    return torch.empty(0) if result is None else result


def _spans(length: int, tile: int, stride: int, whole: int) -> Iterator[tuple[int, int]]:
    """Split a length into nearly equal parts of at most `tile`, at multiples of `stride`."""
    count = 1 if length <= whole else -(-length // tile)
    cells = -(-length // stride)
    edges = [min(length, cells * i // count * stride) for i in range(count + 1)]
    yield from itertools.pairwise(edges)
