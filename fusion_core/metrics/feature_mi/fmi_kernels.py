"""Feature mutual information over all windows of feature maps, and of all binary windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.metrics.compiled.compiling import compiled_fast
from fusion_core.metrics.feature_mi.distributions_kernels import (
    BLOCK,
    FUSED,
    PDF,
    SIZE,
    SOURCE,
    compare,
    describe,
)

Doubles = NDArray[np.float64]

_PATTERNS = 512


@compiled_fast
def feature_mutual_information(maps: Doubles, noise: float) -> float:
    """Mean FMI of F with A and F with B over all 3x3 windows.

    Args:
        maps: Feature maps of A, B and F: `(3, H, W)`.
        noise: Differences up to this value count as zero.
    """
    height, width = maps.shape[1] - 2, maps.shape[2] - 2
    block, values = np.zeros(SIZE), np.empty(BLOCK)
    total = 0.0
    for y in range(height):
        for x in range(0, width, BLOCK):
            count = min(BLOCK, width - x)
            _load_windows(maps[2], y, x, count, block[FUSED:])
            describe(block[FUSED:], noise)
            for n in range(2):
                _load_windows(maps[n], y, x, count, block[SOURCE:])
                describe(block[SOURCE:], noise)
                compare(block, values)
                total += _sum_values(maps[n], maps[2], y, x, count, noise, values)
    return float(total / (2 * height * width))


@compiled_fast
def pattern_table() -> Doubles:
    """FMI of all pairs of binary windows: `(512, 512)`, indices with the first pixel lowest."""
    table = np.empty((_PATTERNS, _PATTERNS))
    block, values = np.zeros(SIZE), np.empty(BLOCK)
    for f in range(_PATTERNS):
        for n in range(BLOCK):
            _load_pattern(f, n, block[FUSED:])
        describe(block[FUSED:], 0.0)
        for first in range(0, _PATTERNS, BLOCK):
            for n in range(BLOCK):
                _load_pattern(first + n, n, block[SOURCE:])
            describe(block[SOURCE:], 0.0)
            compare(block, values)
            for n in range(BLOCK):
                table[first + n, f] = values[n]
        table[f, f] = 1.0
    return table


@compiled_fast
def pattern_mean(edges: NDArray[np.uint8], table: Doubles) -> float:
    """Mean of the table over all windows of F with A and F with B.

    Args:
        edges: Maps of 0 and 1, A, B and F: `(3, H, W)`.
        table: `(512, 512)`, by the source's pattern and F's.
    """
    height, width = edges.shape[1] - 2, edges.shape[2] - 2
    total = 0.0
    for y in range(height):
        a, b, f = 0, 0, 0
        for x in range(width + 2):
            a = _next_pattern(a, edges[0], y, x)
            b = _next_pattern(b, edges[1], y, x)
            f = _next_pattern(f, edges[2], y, x)
            if x >= 2:
                total += table[a, f] + table[b, f]
    return float(total / (2 * height * width))


@compiled_fast
def _next_pattern(pattern: int, edges: NDArray[np.uint8], y: int, x: int) -> int:
    """Move a pattern one column on; its first column is the lowest three bits."""
    column = int(edges[y, x]) | int(edges[y + 1, x]) << 1 | int(edges[y + 2, x]) << 2
    return pattern >> 3 | column << 6


@compiled_fast
def _load_windows(feature: Doubles, y: int, x: int, count: int, part: Doubles) -> None:
    """Copy windows, column by column; what lies beyond `count` is left as it is and is not used."""
    for column in range(3):
        for row in range(3):
            source = feature[y + row, x + column : x + column + count]
            target = part[PDF + (3 * column + row) * BLOCK :]
            for n in range(count):
                target[n] = source[n]


@compiled_fast
def _load_pattern(pattern: int, n: int, part: Doubles) -> None:
    for k in range(9):
        part[PDF + k * BLOCK + n] = float((pattern >> k) & 1)


@compiled_fast
def _sum_values(
    a: Doubles, f: Doubles, y: int, x: int, count: int, noise: float, values: Doubles
) -> float:
    """Sum the values, 1 for identical windows."""
    total = 0.0
    for n in range(count):
        difference = 0.0
        for row in range(3):
            for column in range(3):
                d = abs(a[y + row, x + n + column] - f[y + row, x + n + column])
                difference = d if d > difference else difference
        total += values[n] if difference > noise else 1.0
    return total
