"""Local contrasts, and sums over windows of visual information fidelity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast, inlined
from fusion_core.compiled.vector_math import log2
from fusion_core.metrics.filters.moment_kernels import (
    AA,
    AF,
    BB,
    BF,
    COLUMNS,
    FF,
    sum_over_windows,
    sum_ring,
    sum_rows,
)

Doubles = NDArray[np.float64]

_FOLD = 8
"""Number of factors whose logarithms are taken at once."""
_GROUP = COLUMNS // _FOLD
_SUMS = 6


@compiled_fast
def information_sums(
    a: Doubles,
    b: Doubles,
    f: Doubles,
    taps: Doubles,
    flat: float,
    noise_of_vif: float,
    noise_of_viff: float,
) -> tuple[float, float, float, float, float, float]:
    """Sum logarithms to base 2 over all windows.

    Args:
        a: A: `(H, W)`.
        b: B, likewise.
        f: F, likewise.
        taps: `(n,)`, the window along one axis.
        flat: Variances below it count as 0.
        noise_of_vif: Variance of the noise of VIF.
        noise_of_viff: That of VIFF.

    Returns:
        Information of A kept in F and present in A, that of B, and the two of VIFF.
    """
    totals, factors = np.zeros(_SUMS), np.ones((_SUMS, COLUMNS))
    arguments = (factors, flat, noise_of_vif, noise_of_viff)
    sum_over_windows(a, b, f, taps, 8, _add_information, arguments, totals)
    return totals[0], totals[1], totals[2], totals[3], totals[4], totals[5]


@compiled_fast
def _add_information(
    m: Doubles, count: int, arguments: tuple[Doubles, float, float, float], totals: Doubles
) -> None:
    factors, flat, noise, noise_of_viff = arguments
    for x in range(COLUMNS):
        fused = m[FF, x]
        gain_a, a, signal_a, rest_a = _channel(m[AA, x], fused, m[AF, x], flat)
        gain_b, b, signal_b, rest_b = _channel(m[BB, x], fused, m[BF, x], flat)
        from_a = gain_a < gain_b
        variance = a if from_a else b
        signal, rest = signal_a if from_a else signal_b, rest_a if from_a else rest_b
        factors[0, x] = 1.0 + signal_a / (rest_a + noise)
        factors[1, x] = 1.0 + a / noise
        factors[2, x] = 1.0 + signal_b / (rest_b + noise)
        factors[3, x] = 1.0 + b / noise
        factors[4, x] = 1.0 + signal / (rest + noise_of_viff)
        factors[5, x] = 1.0 + variance / noise_of_viff
    for n in range(_SUMS):
        row = factors[n]
        row[count:] = 1.0
        for k in range(1, _FOLD):
            for x in range(_GROUP):
                row[x] *= row[k * _GROUP + x]
        total = 0.0
        for x in range(_GROUP):
            total += log2(row[x])
        totals[n] += total


@inlined
def _channel(
    variance: float, fused: float, covariance: float, flat: float
) -> tuple[float, float, float, float]:
    """Return the gain, and the variances of the source, of it in F, and of the rest of F."""
    is_flat = variance < flat
    gain = covariance / (variance + flat)
    gain = 0.0 if is_flat or fused < flat else max(gain, 0.0)
    rest = max(fused - gain * covariance, flat)
    variance = 0.0 if is_flat else variance
    return gain, variance, gain * gain * variance, rest


@compiled_fast
def masked_contrast(
    plane: Doubles, centre: Doubles, surround: Doubles, half: float, contrast: Doubles
) -> None:
    """Compute the response to the contrast between two windows around each pixel.

    Args:
        plane: With a border of half a window: `(H + n - 1, W + n - 1)`.
        centre: `(n,)`, the window of the centre along one axis, symmetric.
        surround: `(n,)`, that of the surround.
        half: Square of the contrast at which the response is half of it.
        contrast: Written: `(H, W)`.
    """
    size = centre.size
    rings = np.zeros((2, size, 1, COLUMNS))
    row, sums = np.zeros((1, COLUMNS + size - 1)), np.zeros((2, 1, COLUMNS))
    for x0 in range(0, contrast.shape[1], COLUMNS):
        count = min(COLUMNS, contrast.shape[1] - x0)
        for y in range(plane.shape[0]):
            source = plane[y, x0 : x0 + count + size - 1]
            for x in range(source.size):
                row[0, x] = source[x]
            sum_rows(row, 1, centre, rings[0, y % size])
            sum_rows(row, 1, surround, rings[1, y % size])
            if y >= size - 1:
                sum_ring(rings[0], 1, y + 1, centre, sums[0])
                sum_ring(rings[1], 1, y + 1, surround, sums[1])
                _respond(sums[0, 0], sums[1, 0], half, contrast[y - size + 1, x0 : x0 + count])


@compiled_fast
def _respond(centre: Doubles, surround: Doubles, half: float, contrast: Doubles) -> None:
    for x in range(contrast.size):
        value = abs(centre[x] / surround[x] - 1.0)
        square = value * value
        contrast[x] = value * square / (square + half)


@compiled_fast
def sum_kept(a: Doubles, b: Doubles, f: Doubles) -> float:
    """Sum the contrast that F keeps, weighted by the squares of the sources' contrasts.

    Args:
        a: Contrast of A: `(H, W)`.
        b: Of B, likewise.
        f: Of F, likewise.
    """
    total = 0.0
    for y in range(f.shape[0]):
        for x in range(f.shape[1]):
            p, q, r = a[y, x], b[y, x], f[y, x]
            kept_a = (p if p < r else r) / (r if p < r else p)
            kept_b = (q if q < r else r) / (r if q < r else q)
            total += (kept_a * p * p + kept_b * q * q) / (p * p + q * q)
    return total
