"""Phase congruency of one orientation, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fusion_core.metrics.compiled import vector_math
from fusion_core.metrics.compiled.compiling import compiled_fast, inlined
from fusion_core.metrics.phase import energy

Doubles = NDArray[np.float64]
Complexes = NDArray[np.complex128]

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
def multiply(spectrum: Complexes, response: Doubles, product: Complexes) -> None:
    """Multiply a spectrum by the response of a filter, both flat."""
    for n in range(response.size):
        product[n] = spectrum[n] * response[n]


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
