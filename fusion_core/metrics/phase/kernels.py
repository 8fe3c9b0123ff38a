"""Phase congruency of one orientation, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled import vector_math
from fusion_core.compiled.compiling import compiled_fast, inlined
from fusion_core.metrics.filters.moment_kernels import COLUMNS, sum_ring, sum_rows
from fusion_core.metrics.phase import energy

Doubles = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_SUMS = 11
"""Means and squares of four maps, and the products of three of them with F's."""

_amplitude = inlined(energy.amplitude)
_local_energy = inlined(energy.local_energy)
_width_weight = inlined(energy.width_weight)


@inlined
def _root(x: float) -> float:
    return math.sqrt(x)


@inlined
def _larger(x: float, y: float) -> float:
    return max(x, y)


@compiled_fast
def square_amplitudes(responses: Complexes, squares: Doubles) -> None:
    """Compute squared amplitudes, both flat."""
    for n in range(squares.size):
        squares[n] = responses[n].real * responses[n].real + responses[n].imag * responses[n].imag


@compiled_fast
def collect_between(values: Doubles, low: float, high: float, between: Doubles) -> tuple[int, int]:
    """Copy the values from low to high, and count those below and those copied."""
    below, count = 0, 0
    for n in range(values.size):
        value = values[n]
        below += value < low
        between[count] = value
        count += low <= value <= high
    return below, count


@compiled_fast
def sum_kept(
    a: Doubles,
    b: Doubles,
    f: Doubles,
    stronger: Doubles,
    masks: NDArray[np.bool_],
    taps: Doubles,
    c: float,
) -> float:
    """Sum over the features the largest of the correlations of F's map with those of the sources.

    Args:
        a: Map of A with a border of zeros of half a window: `(H + n - 1, W + n - 1)`.
        b: Of B, likewise.
        f: Of F, likewise.
        stronger: Of the source with the larger phase congruency, likewise.
        masks: Where A, B, and the stronger one have features: `(3, H, W)`.
        taps: `(n,)`, the window along one axis.
        c: Added to covariances and deviations.
    """
    size = taps.size
    width = f.shape[1] - size + 1
    ring, moments = np.zeros((size, _SUMS, COLUMNS)), np.zeros((_SUMS, COLUMNS))
    products = np.zeros((_SUMS, COLUMNS + size - 1))
    kept = np.zeros(COLUMNS)
    total = 0.0
    for x0 in range(0, width, COLUMNS):
        count = min(COLUMNS, width - x0)
        end = x0 + count + size - 1
        for y in range(f.shape[0]):
            _multiply_maps(a[y, x0:end], b[y, x0:end], stronger[y, x0:end], f[y, x0:end], products)
            sum_rows(products, _SUMS, taps, ring[y % size])
            top = y - size + 1
            if top >= 0:
                sum_ring(ring, _SUMS, y + 1, taps, moments)
                kept[:] = 0.0
                for n in range(3):
                    _keep_larger(moments, n, masks[n, top, x0 : x0 + count], c, kept)
                for x in range(count):
                    total += kept[x] if masks[2, top, x0 + x] else 0.0
    return total


@compiled_fast
def _multiply_maps(
    a: Doubles, b: Doubles, stronger: Doubles, f: Doubles, products: Doubles
) -> None:
    for x in range(a.size):
        p, q, s, r = a[x], b[x], stronger[x], f[x]
        products[0, x] = p
        products[1, x] = q
        products[2, x] = s
        products[3, x] = p * p
        products[4, x] = q * q
        products[5, x] = s * s
        products[6, x] = p * r
        products[7, x] = q * r
        products[8, x] = s * r
        products[9, x] = r
        products[10, x] = r * r


@compiled_fast
def _keep_larger(m: Doubles, n: int, mask: NDArray[np.bool_], c: float, kept: Doubles) -> None:
    """Compare the correlation of F's map with one of a source to the largest so far."""
    for x in range(mask.size):
        mean, mean_f = m[n, x], m[9, x]
        variance, variance_f = m[3 + n, x] - mean * mean, m[10, x] - mean_f * mean_f
        spread = math.sqrt(abs(variance * variance_f)) + c
        correlation = (m[6 + n, x] - mean * mean_f + c) / spread
        correlation = correlation if mask[x] else 0.0
        larger = correlation > kept[x] or n == 0
        kept[x] = correlation if larger else kept[x]


@compiled_fast
def add_orientation(
    responses: tuple[Complexes, ...],
    noise: float,
    xx: float,
    yy: float,
    xy: float,
    sums: Doubles,
) -> None:
    """Add the energy of one orientation to the sums.

    Args:
        responses: Of each scale: `(N,)`.
        noise: Energy of noise alone.
        xx: Weight of the squared share of energy in the first moment.
        yy: In the second moment.
        xy: In the mixed moment.
        sums: Energy, amplitude, and the three moments: `(5, N)`.
    """
    first, second, third, fourth = responses
    for n in range(first.size):
        z0, z1, z2, z3 = first[n], second[n], third[n], fourth[n]
        even = (z0.real, z1.real, z2.real, z3.real)
        odd = (z0.imag, z1.imag, z2.imag, z3.imag)
        amplitudes = (
            _amplitude(even[0], odd[0], _root),
            _amplitude(even[1], odd[1], _root),
            _amplitude(even[2], odd[2], _root),
            _amplitude(even[3], odd[3], _root),
        )
        total = amplitudes[0] + amplitudes[1] + amplitudes[2] + amplitudes[3]
        local = max(_local_energy(even, odd, _root) - noise, 0.0)
        local *= _width_weight(amplitudes, total, _larger, vector_math.exp)
        share = local / total if total > 0.0 else 0.0
        sums[0, n] += local
        sums[1, n] += total
        sums[2, n] += xx * share * share
        sums[3, n] += yy * share * share
        sums[4, n] += xy * share * share
