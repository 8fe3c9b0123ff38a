"""The neighbourhoods that gradient filters combine."""

from __future__ import annotations

from torch import Tensor


def neighbours(padded: Tensor) -> list[list[Tensor]]:
    """Return the nine shifted views of images `(…, H + 2, W + 2)`, by row and column."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return [[padded[..., y : y + height, x : x + width] for x in range(3)] for y in range(3)]


def gradients(padded: Tensor, middle: float) -> tuple[Tensor, Tensor]:
    """Compute differences across and down of images `(…, H + 2, W + 2)`.

    Args:
        padded: The images.
        middle: Weight of the middle row or column: 1 for the Prewitt filter, 2 for that of Sobel.

    Returns:
        Right minus left, and lower minus upper: `(…, H, W)` each.
    """
    smooth = (padded[..., :-2, :] + padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=middle)
    across = smooth[..., 2:] - smooth[..., :-2]
    smooth = (padded[..., :-2] + padded[..., 2:]).add_(padded[..., 1:-1], alpha=middle)
    return across, smooth[..., 2:, :] - smooth[..., :-2, :]
