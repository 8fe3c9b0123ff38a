"""Continuation of images beyond their borders, at any size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Border = Literal["zero", "replicate", "symmetric", "mirror", "circular"]
"""What lies beyond the border: zeros, the border pixel repeated, the mirror image with the border
pixel (`symmetric`) or without it (`mirror`), or the opposite side of the image."""


def pad(images: Tensor, margins: tuple[int, int, int, int], border: Border) -> Tensor:
    """Continue images beyond their borders.

    Unlike `torch.nn.functional.pad`, margins may be larger than the image.

    Args:
        images: `(..., H, W)`.
        margins: Pixels above, below, to the left and to the right.
        border: What lies there.

    Returns:
        `(..., above + H + below, left + W + right)`.

    Example:
        >>> pad(torch.tensor([[1, 2, 3]]), (0, 0, 2, 2), "symmetric").tolist()
        [[2, 1, 1, 2, 3, 3, 2]]
        >>> pad(torch.tensor([[1, 2, 3]]), (0, 0, 2, 2), "mirror").tolist()
        [[3, 2, 1, 2, 3, 2, 1]]
    """
    above, below, left, right = margins
    if border == "zero":
        return torch.nn.functional.pad(images, (left, right, above, below))
    height, width = images.shape[-2:]
    if border == "replicate" and images.is_floating_point():
        planes = images.reshape(-1, 1, height, width)
        padded = torch.nn.functional.pad(planes, (left, right, above, below), mode="replicate")
        return padded.view(*images.shape[:-2], *padded.shape[-2:])
    if above or below:
        rows = border_indices(-above, height + below, height, border, images.device)
        images = images.index_select(-2, rows)
    if left or right:
        columns = border_indices(-left, width + right, width, border, images.device)
        images = images.index_select(-1, columns)
    return images


def border_indices(
    first: int, last: int, length: int, border: Border, device: torch.device
) -> Tensor:
    """Return the indices `first..last - 1` into a line that is continued beyond its ends.

    `border_indices(-2, 3, 3, "symmetric", device)` is `1, 0, 0, 1, 2`.
    """
    return continue_indices(torch.arange(first, last, device=device), length, border)


def continue_indices(indices: Tensor, length: int, border: Border) -> Tensor:
    """Map indices beyond the ends of a line to those of the pixels that continue it."""
    if border == "replicate":
        return indices.clamp(0, length - 1)
    if border == "circular":
        return indices.remainder(length)
    repeated = int(border == "symmetric")
    period = max(2 * length - 2 + 2 * repeated, 1)
    folded = indices.remainder(period)
    return torch.minimum(folded, period - repeated - folded)
