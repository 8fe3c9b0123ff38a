"""Sums over windows of the metrics that compare F with the sources by means and variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled_fast, inlined
from fusion_core.metrics.filters.moment_kernels import (
    AA,
    AB,
    AF,
    BB,
    BF,
    FF,
    MEAN_A,
    MEAN_B,
    MEAN_F,
    sum_over_windows,
)

Doubles = NDArray[np.float64]
Constants = tuple[float, ...]


@compiled_fast
def piella_sums(
    a: Doubles, b: Doubles, f: Doubles, taps: Doubles, c1: float, c2: float
) -> tuple[float, float, float]:
    """Sum q, C q and C over all windows.

    Args:
        a: A: `(H, W)`.
        b: B, likewise.
        f: F, likewise.
        taps: `(n,)`, the window along one axis.
        c1: Added to squares of means.
        c2: Added to variances.
    """
    totals = np.zeros(3)
    sum_over_windows(a, b, f, taps, 8, _add_piella, (c1, c2), totals)
    return totals[0], totals[1], totals[2]


@compiled_fast
def structure_sums(
    a: Doubles, b: Doubles, f: Doubles, taps: Doubles, c2: float
) -> tuple[float, float]:
    """Sum contrast and structure of F with A and with B, without luminance, over all windows.

    The arguments are those of `piella_sums`.
    """
    totals = np.zeros(2)
    sum_over_windows(a, b, f, taps, 8, _add_structure, (c2,), totals)
    return totals[0], totals[1]


@compiled_fast
def flat_window_sums(
    a: Doubles, b: Doubles, f: Doubles, taps: Doubles, c: float, noise: float, alike: float
) -> tuple[float, float, float, float, float]:
    """Sum the qualities of Yang, of Cvejic, and of Cvejic as MEFB has it, over all windows.

    Args:
        a: A: `(H, W)`.
        b: B, likewise.
        f: F, likewise.
        taps: `(n,)`, the window along one axis.
        c: Added to squares of means and to variances.
        noise: Variances and covariances below it count as 0.
        alike: Similarity of the sources above which both count.

    Returns:
        The three sums, and the numbers of windows that count for Yang and for Cvejic.
    """
    totals = np.zeros(5)
    sum_over_windows(a, b, f, taps, 9, _add_flat_windows, (c, noise, alike), totals)
    return totals[0], totals[1], totals[2], totals[3], totals[4]


@inlined
def _similarity(
    mean_x: float, mean_y: float, x: float, y: float, xy: float, c1: float, c2: float
) -> float:
    top = (2.0 * mean_x * mean_y + c1) * (2.0 * xy + c2)
    return top / ((mean_x * mean_x + mean_y * mean_y + c1) * (x + y + c2))


@compiled_fast
def _add_piella(m: Doubles, count: int, constants: Constants, totals: Doubles) -> None:
    c1, c2 = constants
    total, weighted, weights = 0.0, 0.0, 0.0
    for x in range(count):
        a, b, f, mean_f = m[AA, x], m[BB, x], m[FF, x], m[MEAN_F, x]
        to_a = _similarity(m[MEAN_A, x], mean_f, a, f, m[AF, x], c1, c2)
        to_b = _similarity(m[MEAN_B, x], mean_f, b, f, m[BF, x], c1, c2)
        both = a + b
        flat = a == 0.0 and b == 0.0
        saliency = 0.5 if flat else a / (both if both != 0.0 else 1.0)
        quality = to_b + saliency * (to_a - to_b)
        weight = max(a, b)
        total += quality
        weighted += weight * quality
        weights += weight
    totals[0] += total
    totals[1] += weighted
    totals[2] += weights


@compiled_fast
def _add_structure(m: Doubles, count: int, constants: Constants, totals: Doubles) -> None:
    (c2,) = constants
    total_a, total_b = 0.0, 0.0
    for x in range(count):
        total_a += (2.0 * m[AF, x] + c2) / (m[AA, x] + m[FF, x] + c2)
        total_b += (2.0 * m[BF, x] + c2) / (m[BB, x] + m[FF, x] + c2)
    totals[0] += total_a
    totals[1] += total_b


@compiled_fast
def _add_flat_windows(m: Doubles, count: int, constants: Constants, totals: Doubles) -> None:
    c, noise, alike = constants
    yang, cvejic, mefb, of_yang, of_cvejic = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(count):
        mean_a, mean_b, mean_f = m[MEAN_A, x], m[MEAN_B, x], m[MEAN_F, x]
        a, b, f = _signal(m[AA, x], noise), _signal(m[BB, x], noise), _signal(m[FF, x], noise)
        af, bf = _signal(m[AF, x], noise), _signal(m[BF, x], noise)
        to_a = _similarity(mean_a, mean_f, a, f, af, c, c)
        to_b = _similarity(mean_b, mean_f, b, f, bf, c, c)
        between = _similarity(mean_a, mean_b, a, b, _signal(m[AB, x], noise), c, c)
        both = a + b
        similar = between >= alike
        counts = not similar or both != 0.0
        share = a / (both if both != 0.0 else 1.0)
        value = to_b + share * (to_a - to_b) if similar else max(to_a, to_b)
        yang += value if counts else 0.0
        of_yang += 1.0 if counts else 0.0
        covariance = _signal(af + bf, noise)
        # Where the covariances cancel, the source with the positive one counts; where both are
        # zero, the window does not.
        counts = covariance != 0.0 or af != 0.0
        share = af / covariance if covariance != 0.0 else (2.0 if af > 0.0 else -1.0)
        mixed = to_b + share * (to_a - to_b)
        mixed = 0.0 if share < 0.0 else (1.0 if share > 1.0 else mixed)
        share = min(max(share, 0.0), 1.0)
        cvejic += to_b + share * (to_a - to_b) if counts else 0.0
        mefb += mixed if counts else 0.0
        of_cvejic += 1.0 if counts else 0.0
    totals[0] += yang
    totals[1] += cvejic
    totals[2] += mefb
    totals[3] += of_yang
    totals[4] += of_cvejic


@inlined
def _signal(value: float, noise: float) -> float:
    return 0.0 if abs(value) < noise else value
