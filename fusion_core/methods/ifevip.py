"""Infrared feature extraction and visual information preservation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.filters import bicubic, gaussian_blur, imresize
from fusion_core.methods.sources import divide, gray_histogram, round_gray, split_pair
from fusion_core.methods.specs.ifevip import IfevipParameters

_SIDE = 512
"""Side of the square to which the infrared image is resized."""
_SMALLEST_BLOCK = 32
_RANGE = 51.0
"""Gray levels over which a block is split."""
_EROSION = 32
_BRIGHTEST = 1e-3
"""Share of the pixels whose mean must not exceed white."""


def ifevip(sources: Tensor, *, largest_share: float = 0.8) -> Tensor:
    """Add the bright features of the infrared image to the visible one.

    Zhang, Zhang, Bai & Zhang, "Infrared and visual image fusion through infrared feature extraction
    and visual information preservation", Infrared Physics & Technology, 2017,
    https://doi.org/10.1016/j.infrared.2017.05.007. The background of the infrared image is a Bezier
    surface on each block of a quadtree; what is above it are the features.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        largest_share: Largest share of the features that is added; less where they would exceed
            white.

    Returns:
        `(B, 1, H, W)` float32 in 0..255.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Deviation: with `colour=per_channel` each channel has a share of its own, while the published
    code computes one from all channels.

    Example:
        >>> sources = torch.tensor([9.0, 100.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 64, 64)
        >>> ifevip(sources).unique()
        tensor([100.])
    """
    infrared, visible = split_pair(sources, "ifevip")
    background = _background(infrared)
    features = (infrared - background).clamp(min=0.0)
    ratio = divide(_entropy(infrared), _entropy(visible), 1.0)
    added = features + (infrared - visible) * ratio
    count = max(1, int(_BRIGHTEST * added[0].numel() + 0.5))
    bright = (added.clamp(min=0.0) + visible).flatten(1).topk(count, dim=1).values.mean(dim=1)
    share = divide(torch.full_like(bright, 255.0), bright, largest_share)
    share = share.clamp(max=largest_share).view(-1, 1, 1, 1)
    return (visible + round_gray(share * added)).clamp(max=255.0).float()


def _background(infrared: Tensor) -> Tensor:
    """Return the infrared image without its bright features, in whole gray levels."""
    square = imresize(infrared, (_SIDE, _SIDE))
    leaves = _quadtree(square)
    control = functional.pad(_erode(square), (0, 1, 0, 1), mode="replicate")
    surface = square.new_zeros(len(square), 1, _SIDE + 1, _SIDE + 1)
    for block, leaf in leaves.items():  # smaller blocks replace the borders of larger ones
        for row, column in torch.cartesian_prod(*[torch.arange(0, _SIDE, block)] * 2).tolist():
            rows, columns = slice(row, row + block + 1), slice(column, column + block + 1)
            patch = _bezier_surface(control[..., rows, columns])
            here = leaf[..., row // block, column // block, None, None]
            surface[..., rows, columns] = torch.where(here, patch, surface[..., rows, columns])
    resized = bicubic(surface[..., :-1, :-1], (infrared.shape[-2], infrared.shape[-1]))
    return round_gray(gaussian_blur(resized, 9, 4.5, "zero"))


def _quadtree(square: Tensor) -> dict[int, Tensor]:
    """Map the side of a block, from the largest, to which blocks of that side are not split."""
    split = torch.ones(len(square), 1, 1, 1, dtype=torch.bool, device=square.device)
    leaves: dict[int, Tensor] = {}
    block = _SIDE
    while True:
        if block == _SMALLEST_BLOCK:
            return leaves | {block: split}
        highest = functional.max_pool2d(square, block)
        lowest = -functional.max_pool2d(-square, block)
        varied = split & (highest - lowest > _RANGE)
        leaves[block] = split & ~varied
        split = varied.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        block //= 2


def _erode(square: Tensor) -> Tensor:
    """Return the minimum of the window from 15 pixels before to 16 after each pixel."""
    before, after = _EROSION // 2 - 1, _EROSION // 2
    for margins, window in (
        ((0, 0, before, after), (_EROSION, 1)),
        ((before, after, 0, 0), (1, _EROSION)),
    ):
        padded = functional.pad(-square, margins, value=-torch.inf)
        square = -functional.max_pool2d(padded, window, stride=1)
    return square


def _bezier_surface(patch: Tensor) -> Tensor:
    """Return the bicubic Bezier surface of 4 x 4 pixels of a patch `(..., n + 1, n + 1)`."""
    block = patch.shape[-1] - 1
    quarter = block // 4
    places = [0, 2 * quarter - 1, 3 * quarter - 1, block]
    control = patch[..., places, :][..., places]
    t = torch.arange(block + 1, dtype=patch.dtype, device=patch.device).unsqueeze(1) / block
    basis = torch.cat(
        ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3), dim=1
    )  # (n + 1, 4)
    return basis @ control @ basis.mT


def _entropy(images: Tensor) -> Tensor:
    """Return the entropy of the gray levels in bits, `(B, 1, 1, 1)`."""
    shares = gray_histogram(images) / images[0].numel()
    logarithms = torch.where(shares > 0, shares, 1.0).log2()
    return -(shares * logarithms).sum(dim=1).view(-1, 1, 1, 1)


def build_ifevip(
    parameters: IfevipParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: ifevip(sources, largest_share=parameters.largest_share)
