"""Sums of products of gray levels, of their differences and of their Laplacians, exact.

The sums of a row are whole numbers of 64 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast

Levels = NDArray[np.uint8]
Row = NDArray[np.int32]


@compiled_fast
def level_sums(a: Levels, b: Levels, f: Levels) -> tuple[int, ...]:
    """Sum A, B, F, and the products AA, BB, FF, AF, BF and AB over all pixels.

    Args:
        a: A: `(H, W)`.
        b: B, likewise.
        f: F, likewise.
    """
    height, width = f.shape
    totals = np.zeros(9, np.int64)
    rows = np.empty((3, width), np.int32)
    for y in range(height):
        for x in range(width):
            rows[0, x] = a[y, x]
            rows[1, x] = b[y, x]
            rows[2, x] = f[y, x]
        _add_products(rows, totals)
    return _to_tuple(totals)


@compiled_fast
def laplacian_sums(a: Levels, b: Levels, f: Levels) -> tuple[int, ...]:
    """Sum the Laplacians of A, B and F, and their products, as `level_sums` does."""
    height, width = f.shape
    totals = np.zeros(9, np.int64)
    rows = np.empty((3, width), np.int32)
    lines = np.zeros((3, width + 2), np.int32)
    for y in range(height):
        _filter_row(a, y, lines, rows[0])
        _filter_row(b, y, lines, rows[1])
        _filter_row(f, y, lines, rows[2])
        _add_products(rows, totals)
    return _to_tuple(totals)


@compiled_fast
def _filter_row(image: Levels, y: int, lines: NDArray[np.int32], result: Row) -> None:
    """Compute 9 times a pixel minus the sum of the 3x3 pixels around it, zeros outside."""
    height, width = image.shape
    columns, centre = lines[0], image[y]
    for x in range(width):
        columns[x + 1] = centre[x]
    if y > 0:
        above = image[y - 1]
        for x in range(width):
            columns[x + 1] += above[x]
    if y < height - 1:
        below = image[y + 1]
        for x in range(width):
            columns[x + 1] += below[x]
    for x in range(width):
        box = columns[x] + columns[x + 1] + columns[x + 2]
        result[x] = np.int32(9) * np.int32(centre[x]) - box


@compiled_fast
def _add_products(rows: NDArray[np.int32], totals: NDArray[np.int64]) -> None:
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = np.int64(0)
    for x in range(rows.shape[1]):
        a, b, f = np.int64(rows[0, x]), np.int64(rows[1, x]), np.int64(rows[2, x])
        s0 += a
        s1 += b
        s2 += f
        s3 += a * a
        s4 += b * b
        s5 += f * f
        s6 += a * f
        s7 += b * f
        s8 += a * b
    totals[0] += s0
    totals[1] += s1
    totals[2] += s2
    totals[3] += s3
    totals[4] += s4
    totals[5] += s5
    totals[6] += s6
    totals[7] += s7
    totals[8] += s8


@compiled_fast
def _to_tuple(totals: NDArray[np.int64]) -> tuple[int, ...]:
    return (
        totals[0], totals[1], totals[2], totals[3], totals[4], totals[5], totals[6], totals[7],
        totals[8],
    )  # fmt: skip
