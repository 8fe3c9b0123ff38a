"""Counts of pairs of gray levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled

Levels = NDArray[np.uint8]


@compiled
def count_pairs(first: Levels, second: Levels, counts: NDArray[np.int64]) -> None:
    """Count pairs of gray levels of two images.

    Args:
        first: `(H, W)`.
        second: `(H, W)`.
        counts: Increased: `(256, 256)`, by the level of the first and the second.
    """
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            counts[first[y, x], second[y, x]] += 1
