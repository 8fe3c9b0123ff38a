"""Activity maps: the norm over the channels of deep features at each pixel.

Each norm is computed from sums over channels, so that features can be processed in groups of
channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.choices import Norm
from fusion_core.filters import box_mean

_BLOCK_ELEMENTS = 512 * 1024
"""Feature elements that are reduced at a time, so that they stay in the cache."""
_MATRIX_ELEMENTS = 32 * 1024 * 1024
"""Elements of all Gram matrices at a time."""


@dataclass(frozen=True, slots=True)
class ActivityNorm:
    """A norm of the features in the block around each pixel, in two steps."""

    collect: Callable[[Tensor], Tensor]
    """Maps some channels `(N, C, H, W)` to sums over them, `(N, D, H, W)`; the sums of several
    such parts are added."""
    finish: Callable[[Tensor], Tensor]
    """Maps the sums over all channels to the activity, `(N, H, W)`."""


def activity_norm(
    norm: Norm,
    radius: int,
    *,
    block_elements: int = _BLOCK_ELEMENTS,
    matrix_elements: int = _MATRIX_ELEMENTS,
) -> ActivityNorm:
    """Return a norm over blocks of `(2 radius + 1)` squared pixels.

    `l1` and `l2` average the norm of each pixel's channels over the block (Li, Wu & Durrani,
    "Infrared and Visible Image Fusion with ResNet and zero-phase component analysis", 2019, Eq. 5,
    which for l2 is what the released code does); `nuclear` is that of Eq. 8. Pixels beyond the
    border count as 0, as in the released code; the paper does not say.

    Args:
        norm: `l1`, `l2` or `nuclear`.
        radius: Radius of the blocks in feature pixels.
        block_elements: Feature elements that `l1` and `l2` reduce at a time on a CPU.
        matrix_elements: Elements of all Gram matrices that `nuclear` holds at a time.
    """
    if norm == "nuclear":
        finish = partial(nuclear_norm, radius=radius, matrix_elements=matrix_elements)
        return ActivityNorm(partial(shifted_products, radius=radius), finish)
    if norm == "l2":
        collect = partial(sum_of_squares, block_elements=block_elements)
        return ActivityNorm(
            collect, lambda sums: box_mean(sums[:, 0].sqrt(), radius, border="zero")
        )
    collect = partial(l1_norm, block_elements=block_elements)
    return ActivityNorm(collect, lambda sums: box_mean(sums[:, 0], radius, border="zero"))


def l1_norm(features: Tensor, *, block_elements: int = _BLOCK_ELEMENTS) -> Tensor:
    """Return the l1 norm over the channels of `(N, C, H, W)`: `(N, 1, H, W)`, at least float32."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    return _by_rows(
        features, lambda rows: rows.to(dtype).abs().sum(dim=1, keepdim=True), block_elements
    )


def sum_of_squares(features: Tensor, *, block_elements: int = _BLOCK_ELEMENTS) -> Tensor:
    """Return the sum of squares over the channels of `(N, C, H, W)`, as `l1_norm` does."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    return _by_rows(
        features, lambda rows: rows.to(dtype).square().sum(dim=1, keepdim=True), block_elements
    )


def shifted_products(features: Tensor, radius: int) -> Tensor:
    """Correlate features with themselves, shifted by all that fits into a block.

    Returns:
        `(N, D, H, W)` float64, one plane for each shift `(dy, dx)` of half the plane: `dy = 0,
        dx >= 0` first, then `dy = 1 ... 2 radius` with all dx; products with pixels beyond the
        border are 0.
    """
    height, width = features.shape[-2:]
    extent = 2 * radius
    padded = functional.pad(features.double(), (extent, extent, 0, extent))
    centre = padded[..., :height, extent : extent + width]
    planes = [
        (centre * padded[..., dy : dy + height, extent + dx : extent + dx + width]).sum(dim=1)
        for dy, dx in _shifts(radius)
    ]
    return torch.stack(planes, dim=1)


def nuclear_norm(
    products: Tensor, radius: int, *, matrix_elements: int = _MATRIX_ELEMENTS
) -> Tensor:
    """Return the nuclear norm of each block (Li, Wu & Durrani 2019, Eq. 8), `(N, H, W)` float32.

    The singular values of a block's `(2 radius + 1)^2 x C` matrix are the roots of the eigenvalues
    of its Gram matrix, whose elements are correlations of the features with their own shifts.
    """
    images, _, height, width = products.shape
    rows = max(1, matrix_elements // ((2 * radius + 1) ** 4 * width * images))
    parts = []
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        eigenvalues = torch.linalg.eigvalsh(_gram_matrices(products, top, bottom, radius))
        norm = eigenvalues.clamp_min(0.0).sqrt().sum(dim=-1)
        parts.append(norm.float().view(images, bottom - top, width))
    return torch.cat(parts, dim=1)


def _shifts(radius: int) -> list[tuple[int, int]]:
    extent = 2 * radius
    along = [(0, dx) for dx in range(extent + 1)]
    return along + [(dy, dx) for dy in range(1, extent + 1) for dx in range(-extent, extent + 1)]


def _gram_matrices(planes: Tensor, top: int, bottom: int, radius: int) -> Tensor:
    """Return the Gram matrices of the blocks around the pixels of some rows, `(P, n, n)`.

    Args:
        planes: `(N, D, H, W)`, the correlations of each image.
        top: First row.
        bottom: Row after the last.
        radius: Radius of the blocks.
    """
    height, size = planes.shape[-2], 2 * radius + 1
    padded = functional.pad(
        planes[:, :, max(0, top - radius) : bottom + radius],
        (radius, radius, max(0, radius - top), max(0, bottom + radius - height)),
    )
    # (N, D, rows, W, size, size): the block around each pixel, of each plane
    blocks = padded.unfold(2, size, 1).unfold(3, size, 1)
    plane, y, x = _elements(radius, planes.device)
    gram: Tensor = blocks.permute(0, 2, 3, 1, 4, 5)[:, :, :, plane, y, x]
    return gram.flatten(0, 2)


@lru_cache(maxsize=8)
def _elements(radius: int, device: torch.device) -> tuple[Tensor, ...]:
    """Return where each element of a Gram matrix lies: plane, row and column, `(n, n)` each."""
    number = {shift: index for index, shift in enumerate(_shifts(radius))}
    size = 2 * radius + 1
    offsets = [(y, x) for y in range(size) for x in range(size)]
    places = [
        # offsets are in reading order, so the shift to the later one is in half the plane
        [(number[second[0] - first[0], second[1] - first[1]], *first) for first, second in pairs]
        for pairs in ([sorted((one, other)) for other in offsets] for one in offsets)
    ]
    with torch.inference_mode(mode=False):
        return torch.tensor(places, device=device).unbind(dim=-1)


def _by_rows(features: Tensor, reduce: Callable[[Tensor], Tensor], block_elements: int) -> Tensor:
    """Reduce some rows of `(N, C, H, W)` at a time, to keep intermediate results in the cache."""
    if features.device.type != "cpu":
        return reduce(features)
    images, channels, _, width = features.shape
    rows = max(1, block_elements // (images * channels * width))
    return torch.cat([reduce(part) for part in features.split(rows, dim=2)], dim=2)
