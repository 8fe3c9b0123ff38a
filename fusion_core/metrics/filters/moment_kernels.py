"""Moments in the windows around each pixel, for kernels that use them at once.

A strip of columns is filtered along the rows, products included, and kept in a ring of as many rows
as a window has; the moments of a row of windows are sums over the ring. All of this stays in the
first-level cache, and nothing is written to memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast, inlined

Doubles = NDArray[np.float64]

COLUMNS = 96
"""Number of windows in a row of a strip."""
MEAN_A, MEAN_B, MEAN_F, AA, BB, FF, AF, BF, AB = range(9)
"""Rows of the moments: means, and after them variances and covariances."""
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 2), (1, 2), (0, 1))


@inlined
def sum_over_windows(
    a: Doubles,
    b: Doubles,
    f: Doubles,
    taps: Doubles,
    planes: int,
    add: Callable[..., None],
    arguments: Any,  # noqa: ANN401
    totals: Doubles,
) -> None:
    """Sum a function of the moments over all windows that fit.

    Args:
        a: A: `(H, W)`.
        b: B, likewise.
        f: F, likewise.
        taps: `(n,)`, the window along one axis, symmetric, n odd.
        planes: Number of moments: 9, or 8 without that of A and B.
        add: Adds to the totals: called with moments `(9, 96)`, the number of windows, the
            arguments, and the totals.
        arguments: Further arguments.
        totals: Sums, which are increased.
    """
    size = taps.size
    width = f.shape[1] - size + 1
    ring = np.zeros((size, 9, COLUMNS))
    products = np.zeros((9, COLUMNS + size - 1))
    moments = np.zeros((9, COLUMNS))
    for x0 in range(0, width, COLUMNS):
        count = min(COLUMNS, width - x0)
        end = x0 + count + size - 1
        for y in range(f.shape[0]):
            _multiply(a[y, x0:end], b[y, x0:end], f[y, x0:end], products)
            sum_rows(products, planes, taps, ring[y % size])
            if y >= size - 1:
                sum_ring(ring, planes, y + 1, taps, moments)
                _centre(moments)
                add(moments, count, arguments, totals)


@compiled_fast
def _multiply(a: Doubles, b: Doubles, f: Doubles, products: Doubles) -> None:
    for x in range(a.size):
        p, q, r = a[x], b[x], f[x]
        products[0, x] = p
        products[1, x] = q
        products[2, x] = r
        products[3, x] = p * p
        products[4, x] = q * q
        products[5, x] = r * r
        products[6, x] = p * r
        products[7, x] = q * r
        products[8, x] = p * q


@compiled_fast
def sum_rows(products: Doubles, planes: int, taps: Doubles, sums: Doubles) -> None:
    """Sum each of the planes of a row over windows along it."""
    middle, last = taps.size // 2, taps.size - 1
    for n in range(planes):
        row, total, tap = products[n], sums[n], taps[middle]
        for x in range(COLUMNS):
            total[x] = tap * row[x + middle]
        for k in range(middle):
            left, right, tap = row[k:], row[last - k :], taps[k]
            for x in range(COLUMNS):
                total[x] += tap * (left[x] + right[x])


@compiled_fast
def sum_ring(ring: Doubles, planes: int, first: int, taps: Doubles, sums: Doubles) -> None:
    """Sum over the rows of the ring, the first of which is at `first`, counted around."""
    size, middle = taps.size, taps.size // 2
    for n in range(planes):
        row, total, tap = ring[(first + middle) % size, n], sums[n], taps[middle]
        for x in range(COLUMNS):
            total[x] = tap * row[x]
        for k in range(middle):
            above, below = ring[(first + k) % size, n], ring[(first + size - 1 - k) % size, n]
            tap = taps[k]
            for x in range(COLUMNS):
                total[x] += tap * (above[x] + below[x])


@compiled_fast
def _centre(moments: Doubles) -> None:
    """Turn means of products into variances and covariances."""
    for x in range(COLUMNS):
        a, b, f = moments[0, x], moments[1, x], moments[2, x]
        moments[3, x] -= a * a
        moments[4, x] -= b * b
        moments[5, x] -= f * f
        moments[6, x] -= a * f
        moments[7, x] -= b * f
        moments[8, x] -= a * b
