"""The neighbourhoods that gradient filters combine."""

from __future__ import annotations

from torch import Tensor


def neighbours(padded: Tensor) -> list[list[Tensor]]:
    """Return the nine shifted views of images `(…, H + 2, W + 2)`, by row and column."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return [[padded[..., y : y + height, x : x + width] for x in range(3)] for y in range(3)]
