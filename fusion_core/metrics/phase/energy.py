"""The local energy of filter responses, for tensors and, in kernels, for single numbers.

The functions that both need differently are arguments: `root` is the square root, `larger` the
maximum of two, `exponential` the exponential function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Number: TypeAlias = Any
"""A float64 tensor, or a float in a kernel."""
Four: TypeAlias = tuple[Number, ...]
"""A number of each of the four scales, the finest first."""

EPSILON = 1e-4
WIDTH_CUTOFF, WIDTH_GAIN, SCALES = 0.5, 10.0, 4.0


def amplitude(even: Number, odd: Number, root: Callable[[Number], Number]) -> Number:
    """Compute the amplitude of a response."""
    return root(even * even + odd * odd)


def local_energy(even: Four, odd: Four, root: Callable[[Number], Number]) -> Number:
    """Sum, over the scales, the response along the mean phase, less the deviation from it."""
    e = even[0] + even[1] + even[2] + even[3]
    o = odd[0] + odd[1] + odd[2] + odd[3]
    scale = 1.0 / (root(e * e + o * o) + EPSILON)
    deviation = abs(even[0] * o - odd[0] * e) + abs(even[1] * o - odd[1] * e)
    deviation = deviation + abs(even[2] * o - odd[2] * e) + abs(even[3] * o - odd[3] * e)
    return (e * e + o * o - deviation) * scale


def width_weight(
    amplitudes: Four,
    total: Number,
    larger: Callable[[Number, Number], Number],
    exponential: Callable[[Number], Number],
) -> Number:
    """Compute a weight that is small where few scales respond."""
    largest = larger(larger(amplitudes[0], amplitudes[1]), larger(amplitudes[2], amplitudes[3]))
    width = total / ((largest + EPSILON) * SCALES)
    return 1.0 / (1.0 + exponential((WIDTH_CUTOFF - width) * WIDTH_GAIN))
