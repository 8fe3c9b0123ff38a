"""Sums over windows, one row of windows at a time, and products of spectra.

A stretch of a row of windows stays in the first-level cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast

Doubles = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_COLUMNS = 128
"""Number of windows that are computed at once."""
LARGEST_WINDOW = 33
"""Longest side of a window."""


@compiled_fast
def sum_windows(planes: Doubles, taps: Doubles, step: int, sums: Doubles) -> None:
    """Sum planes over windows that fit.

    Args:
        planes: `(N, H, W)`.
        taps: `(n,)`, the window along one axis, symmetric, n odd and at most 33.
        step: Distance of the rows of windows.
        sums: Written: `(N, (H - n) // step + 1, W - n + 1)`.
    """
    size, middle = taps.size, taps.size // 2
    columns = np.zeros(_COLUMNS + LARGEST_WINDOW - 1)
    for n in range(planes.shape[0]):
        for y in range(sums.shape[1]):
            for x0 in range(0, sums.shape[2], _COLUMNS):
                count = min(_COLUMNS, sums.shape[2] - x0)
                end = x0 + count + size - 1
                row, tap = planes[n, step * y + middle, x0:end], taps[middle]
                for x in range(row.size):
                    columns[x] = tap * row[x]
                for k in range(middle):
                    above = planes[n, step * y + k, x0:end]
                    below = planes[n, step * y + size - 1 - k, x0:end]
                    tap = taps[k]
                    for x in range(row.size):
                        columns[x] += tap * (above[x] + below[x])
                _sum_row(columns, taps, sums[n, y, x0 : x0 + count])


@compiled_fast
def _sum_row(columns: Doubles, taps: Doubles, sums: Doubles) -> None:
    middle = taps.size // 2
    centre, tap = columns[middle:], taps[middle]
    for x in range(sums.size):
        sums[x] = tap * centre[x]
    for k in range(middle):
        left, right, tap = columns[k:], columns[taps.size - 1 - k :], taps[k]
        for x in range(sums.size):
            sums[x] += tap * (left[x] + right[x])


@compiled_fast
def multiply(spectrum: Complexes, response: Doubles, product: Complexes) -> None:
    """Multiply a spectrum by the response of a filter, both flat."""
    for n in range(response.size):
        product[n] = spectrum[n] * response[n]
