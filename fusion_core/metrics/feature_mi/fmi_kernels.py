"""Feature mutual information over all windows of feature maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast
from fusion_core.metrics.feature_mi.distributions_kernels import (
    BLOCK,
    FUSED,
    SIZE,
    SOURCE,
    compare,
    describe,
)

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
Levels = NDArray[np.uint8]


@compiled_fast
def feature_mutual_information(a: Doubles, b: Doubles, f: Doubles, noise: float) -> float:
    """Mean FMI of F with A and F with B over all 3x3 windows.

    Args:
        a: Feature map of A: `(H, W)`.
        b: Of B, likewise.
        f: Of F, likewise.
        noise: Differences up to this value count as zero.
    """
    sources, (height, width) = (a, b), (f.shape[0] - 2, f.shape[1] - 2)
    fused, windows = np.zeros(9 * BLOCK), np.zeros(9 * BLOCK)
    block, values = np.zeros(SIZE, np.float32), np.empty(BLOCK, np.float32)
    total = 0.0
    for y in range(height):
        for x in range(0, width, BLOCK):
            count = min(BLOCK, width - x)
            _load_windows(f, y, x, count, fused)
            describe(fused, noise, block[FUSED:])
            for n in range(2):
                _load_windows(sources[n], y, x, count, windows)
                describe(windows, noise, block[SOURCE:])
                compare(block, values)
                _mark_identical(windows, fused, noise, values)
                for k in range(count):
                    total += values[k]
    return float(total / (2 * height * width))


@compiled_fast
def pattern_mean(a: Levels, b: Levels, f: Levels, table: Doubles) -> float:
    """Mean of the table over all windows of F with A and F with B.

    Args:
        a: Edge map of A, 0 and 1: `(H, W)`.
        b: Of B, likewise.
        f: Of F, likewise.
        table: `(512, 512)`, by the source's pattern and F's.
    """
    height, width = f.shape[0] - 2, f.shape[1] - 2
    total = 0.0
    for y in range(height):
        of_a, of_b, of_f = 0, 0, 0
        for x in range(width + 2):
            of_a = _next_pattern(of_a, a, y, x)
            of_b = _next_pattern(of_b, b, y, x)
            of_f = _next_pattern(of_f, f, y, x)
            if x >= 2:
                total += table[of_a, of_f] + table[of_b, of_f]
    return float(total / (2 * height * width))


@compiled_fast
def _next_pattern(pattern: int, edges: Levels, y: int, x: int) -> int:
    """Move a pattern one column on; its first column is the lowest three bits."""
    column = int(edges[y, x]) | int(edges[y + 1, x]) << 1 | int(edges[y + 2, x]) << 2
    return pattern >> 3 | column << 6


@compiled_fast
def _load_windows(feature: Doubles, y: int, x: int, count: int, windows: Doubles) -> None:
    """Copy windows, column by column; what lies beyond `count` is left as it is and is not used."""
    for column in range(3):
        for row in range(3):
            source = feature[y + row, x + column : x + column + count]
            target = windows[(3 * column + row) * BLOCK :]
            for n in range(count):
                target[n] = source[n]


@compiled_fast
def _mark_identical(first: Doubles, second: Doubles, noise: float, values: Singles) -> None:
    """Set the values of windows that are identical to 1."""
    for n in range(BLOCK):
        difference = 0.0
        for k in range(9):
            d = abs(first[k * BLOCK + n] - second[k * BLOCK + n])
            difference = d if d > difference else difference
        values[n] = values[n] if difference > noise else np.float32(1.0)
