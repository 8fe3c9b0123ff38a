"""Feature maps: thinned edges, and one level of a wavelet transform with long filters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled, compiled_fast

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
_GROUP = 6
"""Number of taps that one pass over a row applies."""


@compiled_fast
def analyse(
    image: Doubles, rows: Indices, columns: Indices, filters: Doubles, coefficients: Doubles
) -> None:
    """Filter rows and columns and keep every second value.

    Args:
        image: `(H, W)`.
        rows: Index of the row at each position of the extended image, `(2 * H' + T - 2,)`.
        columns: Likewise for columns.
        filters: Low- and high-pass as applied by correlation, `(2, T)`, T a multiple of 6.
        coefficients: Written: `[cA cH; cV cD]`, `(2 * H', 2 * W')`.
    """
    height, width = coefficients.shape[0] // 2, coefficients.shape[1] // 2
    half = columns.size // 2
    line = np.empty(2 * half)
    filtered = np.zeros((2, image.shape[0], width))
    for y in range(image.shape[0]):
        for x in range(half):
            line[x] = image[y, columns[2 * x]]
            line[half + x] = image[y, columns[2 * x + 1]]
        for band in range(2):
            for t in range(0, filters.shape[1], _GROUP):
                even, odd = line[t // 2 :], line[half + t // 2 :]
                taps = filters[band, t : t + _GROUP]
                _add_pairs(filtered[band, y], even, odd, taps)
    coefficients[:] = 0.0
    for y in range(height):
        for across in range(2):
            for down in range(2):
                target = coefficients[across * height + y, down * width : (down + 1) * width]
                source = filtered[across]
                for t in range(0, filters.shape[1], _GROUP):
                    around = rows[2 * y + t : 2 * y + t + _GROUP]
                    _add_rows(target, source, around, filters[down, t : t + _GROUP])


@compiled_fast
def _add_pairs(total: Doubles, even: Doubles, odd: Doubles, taps: Doubles) -> None:
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for x in range(total.size):
        total[x] += (
            t0 * even[x]
            + t1 * odd[x]
            + t2 * even[x + 1]
            + t3 * odd[x + 1]
            + t4 * even[x + 2]
            + t5 * odd[x + 2]
        )


@compiled_fast
def _add_rows(total: Doubles, source: Doubles, rows: Indices, taps: Doubles) -> None:
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    r0, r1, r2 = source[rows[0]], source[rows[1]], source[rows[2]]
    r3, r4, r5 = source[rows[3]], source[rows[4]], source[rows[5]]
    for x in range(total.size):
        total[x] += t0 * r0[x] + t1 * r1[x] + t2 * r2[x] + t3 * r3[x] + t4 * r4[x] + t5 * r5[x]


@compiled
def scale_to_unit(plane: Doubles) -> None:
    """Scale a plane to 0..1 by its own range, or fill it with ones if it is flat.

    Args:
        plane: Written: `(H, W)`.
    """
    lows, highs = plane[0].copy(), plane[0].copy()
    for y in range(1, plane.shape[0]):
        row = plane[y]
        for x in range(row.size):
            value = row[x]
            lows[x] = value if value < lows[x] else lows[x]
            highs[x] = value if value > highs[x] else highs[x]
    low, span = lows.min(), highs.max() - lows.min()
    if span <= 0.0:
        plane[:] = 1.0
        return
    for y in range(plane.shape[0]):
        row = plane[y]
        for x in range(row.size):
            row[x] = (row[x] - low) / span


@compiled
def mark_edges(padded: Doubles, factor: float, slack: float, edges: NDArray[np.uint8]) -> None:
    """Mark thinned Sobel edges.

    Args:
        padded: Image with its border repeated once: `(H + 2, W + 2)`.
        factor: Edges are stronger than this times the mean strength.
        slack: How much the weaker direction may exceed the other.
        edges: Written, 0 or 1: `(H, W)`.
    """
    height, width = edges.shape
    across, along = np.empty(width), np.empty(width)
    strength = np.zeros((height + 2, width + 2))
    total = 0.0
    for y in range(height):
        _sobel(padded[y], padded[y + 1], padded[y + 2], across, along)
        total += _square(across, along, slack, strength[y + 1, 1:-1], edges[y])
    cutoff = factor * total / (height * width)
    for y in range(height):
        _thin(strength[y], strength[y + 1], strength[y + 2], cutoff, edges[y])


@compiled
def _sobel(
    above: Doubles, centre: Doubles, below: Doubles, across: Doubles, along: Doubles
) -> None:
    """Sobel gradient over 8, the six products one after the other, the negative ones first."""
    for x in range(across.size):
        total = -above[x] - 2.0 * centre[x] - below[x]
        across[x] = (total + above[x + 2] + 2.0 * centre[x + 2] + below[x + 2]) * 0.125
    for x in range(across.size):
        total = -above[x] - 2.0 * above[x + 1] - above[x + 2]
        along[x] = (total + below[x] + 2.0 * below[x + 1] + below[x + 2]) * 0.125


@compiled
def _square(
    across: Doubles, along: Doubles, slack: float, strength: Doubles, marks: NDArray[np.uint8]
) -> float:
    """Write the squared gradient and its direction (1 across, 2 along, 3 both); return the sum."""
    total = 0.0
    for x in range(across.size):
        strength[x] = across[x] * across[x] + along[x] * along[x]
        total += strength[x]
    for x in range(across.size):
        size_x, size_y = abs(across[x]), abs(along[x])
        marks[x] = (1 if size_x >= size_y - slack else 0) | (2 if size_y >= size_x - slack else 0)
    return total


@compiled
def _thin(
    up: Doubles, here: Doubles, down: Doubles, cutoff: float, marks: NDArray[np.uint8]
) -> None:
    """Turn directions into 1 for an edge and 0 for none."""
    for x in range(marks.size):
        b = here[x + 1]
        across = (here[x] <= b) & (b > here[x + 2]) & ((marks[x] & 1) > 0)
        along = (up[x + 1] <= b) & (b > down[x + 1]) & ((marks[x] & 2) > 0)
        marks[x] = (b > cutoff) & (across | along)
