"""SSIM and MEF-SSIM of every window, tile by tile.

A tile of A, B and F and all sums over its windows stay in the first-level cache. They lie in flat
arrays at constant distances, which is what lets the loops become vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast, inlined
from fusion_core.compiled.vector_math import exp, log2

Doubles = NDArray[np.float64]

_WINDOW, _PIXELS = 11, 121
_COLUMNS, _ROWS = 64, 8
"""Number of windows in a tile."""
_STRIDE = _COLUMNS + 16
_PLANE = (_ROWS + _WINDOW - 1) * _STRIDE
_A, _B, _F = 0, _PLANE, 2 * _PLANE

_MEAN_A, _MEAN_B, _AA, _BB, _AB, _MEAN_F, _FF, _AF, _BF = (n * _STRIDE for n in range(9))
"""Offsets of the sums over windows."""
_BOX_SUMS, _GAUSSIAN_SUMS = 5, 9
"""Number of these sums, from the first, that the flat and the Gaussian window need."""

_EPS = 2.0**-52
_LARGEST_POWER = 10.0
_SINE = tuple(
    (-1.0) ** n * (math.pi / 2.0) ** (2 * n + 1) / math.factorial(2 * n + 1)
    for n in range(11, -1, -1)
)
"""sin(pi/2 u) / u in powers of u**2, the highest first."""


@compiled_fast
def ssim_means(
    a: Doubles, b: Doubles, f: Doubles, taps: Doubles, c1: float, c2: float
) -> tuple[float, float]:
    """Mean SSIM of F with A and of F with B over all windows.

    Args:
        a: A, padded: `(H + 10, W + 10)`.
        b: B, likewise.
        f: F, likewise.
        taps: `(11,)`, the window along one axis.
        c1: Added to squares of means.
        c2: Added to variances.
    """
    height, width = f.shape[0] - _WINDOW + 1, f.shape[1] - _WINDOW + 1
    tile, columns, sums = np.zeros(3 * _PLANE), np.zeros(9 * _STRIDE), np.zeros(9 * _STRIDE)
    total_a, total_b = 0.0, 0.0
    for y0 in range(0, height, _ROWS):
        for x0 in range(0, width, _COLUMNS):
            _load_tile((a, b, f), y0, x0, tile)
            for y in range(min(_ROWS, height - y0)):
                _sum_columns(tile, y, taps, columns, _GAUSSIAN_SUMS)
                _sum_rows(columns, taps, sums, _GAUSSIAN_SUMS)
                _ssim(sums, c1, c2, columns)
                for x in range(min(_COLUMNS, width - x0)):
                    total_a += columns[x]
                    total_b += columns[_STRIDE + x]
    return total_a / (height * width), total_b / (height * width)


@compiled_fast
def mef_quality(
    a: Doubles, b: Doubles, f: Doubles, taps: Doubles, floor: float, cancelled: float, c: float
) -> float:
    """Mean similarity of F with the reference block of A and B, one scale.

    Args:
        a: A in 0..255: `(H, W)`, at least 11 x 11.
        b: B, likewise.
        f: F, likewise.
        taps: `(11,)`, the Gaussian window along one axis.
        floor: Added to the norm of a block.
        cancelled: Share of its terms below which the squared norm of the reference block is 0.
        c: Added to variances.
    """
    height, width = f.shape[0] - _WINDOW + 1, f.shape[1] - _WINDOW + 1
    tile, columns, sums = np.zeros(3 * _PLANE), np.zeros(9 * _STRIDE), np.zeros(9 * _STRIDE)
    weights, ones = np.zeros(2 * _STRIDE), np.ones(_WINDOW)
    total = 0.0
    for y0 in range(0, height, _ROWS):
        for x0 in range(0, width, _COLUMNS):
            _load_tile((a, b, f), y0, x0, tile)
            for y in range(min(_ROWS, height - y0)):
                _sum_columns(tile, y, ones, columns, _BOX_SUMS)
                _sum_rows(columns, ones, sums, _BOX_SUMS)
                _reference_weights(sums, floor, cancelled, weights)
                _sum_columns(tile, y, taps, columns, _GAUSSIAN_SUMS)
                _sum_rows(columns, taps, sums, _GAUSSIAN_SUMS)
                _quality(sums, weights, c, columns)
                for x in range(min(_COLUMNS, width - x0)):
                    total += columns[x]
    return float(total / (height * width))


@compiled_fast
def _load_tile(images: tuple[Doubles, ...], y0: int, x0: int, tile: Doubles) -> None:
    rows = min(_ROWS + _WINDOW - 1, images[0].shape[0] - y0)
    columns = min(_COLUMNS + _WINDOW - 1, images[0].shape[1] - x0)
    for n in range(3):
        for y in range(rows):
            source = images[n][y0 + y, x0 : x0 + columns]
            target = tile[n * _PLANE + y * _STRIDE :]
            for x in range(columns):
                target[x] = source[x]


@compiled_fast
def _sum_columns(tile: Doubles, y: int, taps: Doubles, sums: Doubles, count: int) -> None:
    sums[:] = 0.0
    for k in range(_WINDOW):
        rows, tap = tile[(y + k) * _STRIDE :], taps[k]
        for x in range(_STRIDE):
            a, b, f = rows[_A + x], rows[_B + x], rows[_F + x]
            sums[_MEAN_A + x] += tap * a
            sums[_MEAN_B + x] += tap * b
            sums[_AA + x] += tap * a * a
            sums[_BB + x] += tap * b * b
            sums[_AB + x] += tap * a * b
        if count == _GAUSSIAN_SUMS:
            for x in range(_STRIDE):
                a, b, f = rows[_A + x], rows[_B + x], rows[_F + x]
                sums[_MEAN_F + x] += tap * f
                sums[_FF + x] += tap * f * f
                sums[_AF + x] += tap * a * f
                sums[_BF + x] += tap * b * f


@compiled_fast
def _sum_rows(columns: Doubles, taps: Doubles, sums: Doubles, count: int) -> None:
    t0, t1, t2, t3, t4, t5 = taps[5], taps[4], taps[3], taps[2], taps[1], taps[0]
    for n in range(count):
        row, result = columns[n * _STRIDE :], sums[n * _STRIDE :]
        for x in range(_COLUMNS):
            result[x] = (
                t0 * row[x + 5]
                + t1 * (row[x + 4] + row[x + 6])
                + t2 * (row[x + 3] + row[x + 7])
                + t3 * (row[x + 2] + row[x + 8])
                + t4 * (row[x + 1] + row[x + 9])
                + t5 * (row[x] + row[x + 10])
            )


@compiled_fast
def _ssim(sums: Doubles, c1: float, c2: float, values: Doubles) -> None:
    for x in range(_COLUMNS):
        a, b, f = sums[_MEAN_A + x], sums[_MEAN_B + x], sums[_MEAN_F + x]
        variance_f = sums[_FF + x] - f * f
        top = (2.0 * a * f + c1) * (2.0 * (sums[_AF + x] - a * f) + c2)
        bottom = (a * a + f * f + c1) * (sums[_AA + x] - a * a + variance_f + c2)
        values[x] = top / bottom
        top = (2.0 * b * f + c1) * (2.0 * (sums[_BF + x] - b * f) + c2)
        bottom = (b * b + f * f + c1) * (sums[_BB + x] - b * b + variance_f + c2)
        values[_STRIDE + x] = top / bottom


@compiled_fast
def _reference_weights(sums: Doubles, floor: float, cancelled: float, weights: Doubles) -> None:
    """Write the reference block as `u * (A - mean) + v * (B - mean)`: u, then v."""
    for x in range(_COLUMNS):
        sum_a, sum_b = sums[_MEAN_A + x], sums[_MEAN_B + x]
        # Exact: levels are multiples of 1/16 at every scale.
        aa = _PIXELS * sums[_AA + x] - sum_a * sum_a
        bb = _PIXELS * sums[_BB + x] - sum_b * sum_b
        ab = _PIXELS * sums[_AB + x] - sum_a * sum_b
        both = (aa + bb + 2.0 * ab) / _PIXELS
        aa, bb, ab = aa / _PIXELS, bb / _PIXELS, ab / _PIXELS
        norm_a, norm_b = math.sqrt(aa), math.sqrt(bb)
        consistency = math.sqrt(both) + _EPS
        consistency = min(consistency / (norm_a + norm_b + _EPS), 1.0 - _EPS)
        power = min(_sine(consistency) / _sine(1.0 - consistency), _LARGEST_POWER)
        energy_a, energy_b = norm_a + floor, norm_b + floor
        u = _power(energy_a / _WINDOW, power) + _EPS
        v = _power(energy_b / _WINDOW, power) + _EPS
        total = u + v
        u, v = u / (total * energy_a), v / (total * energy_b)
        terms = u * u * aa + v * v * bb
        norm2 = terms + 2.0 * u * v * ab
        present = norm2 > cancelled * terms
        scale = max(energy_a, energy_b) / math.sqrt(norm2 if present else 1.0)
        scale = scale if present else 0.0
        weights[x] = u * scale
        weights[_STRIDE + x] = v * scale


@compiled_fast
def _quality(sums: Doubles, weights: Doubles, c: float, values: Doubles) -> None:
    for x in range(_COLUMNS):
        a, b, f = sums[_MEAN_A + x], sums[_MEAN_B + x], sums[_MEAN_F + x]
        u, v = weights[x], weights[_STRIDE + x]
        variance = u * u * (sums[_AA + x] - a * a) + v * v * (sums[_BB + x] - b * b)
        variance += 2.0 * u * v * (sums[_AB + x] - a * b) + sums[_FF + x] - f * f
        covariance = u * (sums[_AF + x] - a * f) + v * (sums[_BF + x] - b * f)
        values[x] = (2.0 * covariance + c) / (variance + c)


@inlined
def _sine(u: float) -> float:
    """sin(pi/2 u) for u in 0..1."""
    z = u * u
    p = _SINE[0]
    for coefficient in _SINE[1:]:
        p = p * z + coefficient
    return p * u


@inlined
def _power(base: float, exponent: float) -> float:
    return exp(exponent * log2(base) * math.log(2.0))
