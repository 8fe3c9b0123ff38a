"""Mutual information of feature windows, 64 windows at a time.

Everything about a block of windows lies in one flat array, each quantity in a row of 64 windows, at
constant distances, which is what lets the loops become vector instructions.

The joint pdf of two windows is J = phi * (increments of a Fréchet bound) + (1 - phi) * f_i * a_j.
The upper bound is the coupling that pairs equal quantiles; the lower bound is the same with one pdf
reversed. Merging the 8 inner steps of both cdfs cuts 0..1 into 17 pieces, each in one cell (i, j),
so only 17 of the 81 increments are not zero. In the others log2 J = log2 |1 - phi| + log2 f_i +
log2 a_j, and their sum follows from the two entropies.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fusion_core.metrics.kernels.compiling import compiled_fast, inlined
from fusion_core.metrics.kernels.vector_math import log2

Doubles = NDArray[np.float64]

_N = 64
"""Windows of a block."""
_TINY = 1e-300
_NINTH = 1.0 / 9.0
_PATTERNS = 512

# Rows of one pdf's part of the array: 9 probabilities, 9 cumulated, 9 logarithms, and moments.
_P, _C, _L = 0, 9 * _N, 18 * _N
_ENTROPY, _DEVIATION, _CDF_SUM, _SQUARES = 27 * _N, 28 * _N, 29 * _N, 30 * _N
_PART = 31 * _N

# The parts: F, the source, and the source as it is paired with F (reversed for a lower bound).
_F, _A, _Q = 0, _PART, 2 * _PART
_PHI, _LOG_REST, _JOINT = _Q + 27 * _N, _Q + 28 * _N, _Q + 29 * _N
_SIZE = 3 * _PART


@compiled_fast
def feature_mutual_information(maps: Doubles, noise: float) -> float:
    """Mean FMI of F with A and F with B over all 3x3 windows.

    Args:
        maps: Feature maps of A, B and F: `(3, H, W)`.
        noise: Differences up to this count as none.
    """
    height, width = maps.shape[1] - 2, maps.shape[2] - 2
    block, values = np.zeros(_SIZE), np.empty(_N)
    total = 0.0
    for y in range(height):
        for x in range(0, width, _N):
            count = min(_N, width - x)
            _load_windows(maps[2], y, x, count, block[_F:])
            _describe(block[_F:], noise)
            for n in range(2):
                _load_windows(maps[n], y, x, count, block[_A:])
                _describe(block[_A:], noise)
                _compare(block, values)
                total += _sum_values(maps[n], maps[2], y, x, count, noise, values)
    return total / (2 * height * width)


@compiled_fast
def pattern_table() -> Doubles:
    """FMI of all pairs of binary windows: `(512, 512)`, indices with the first pixel lowest."""
    table = np.empty((_PATTERNS, _PATTERNS))
    block, values = np.zeros(_SIZE), np.empty(_N)
    for f in range(_PATTERNS):
        for n in range(_N):
            _load_pattern(f, n, block[_F:])
        _describe(block[_F:], 0.0)
        for first in range(0, _PATTERNS, _N):
            for n in range(_N):
                _load_pattern(first + n, n, block[_A:])
            _describe(block[_A:], 0.0)
            _compare(block, values)
            table[first : first + _N, f] = values
        table[f, f] = 1.0
    return table


@compiled_fast
def pattern_mean(edges: NDArray[np.uint8], table: Doubles) -> float:
    """Mean of the table over all windows of F with A and F with B.

    Args:
        edges: Maps of 0 and 1, A, B and F: `(3, H, W)`.
        table: `(512, 512)`, by the source's pattern and F's.
    """
    height, width = edges.shape[1] - 2, edges.shape[2] - 2
    total = 0.0
    for y in range(height):
        a, b, f = 0, 0, 0
        for x in range(width + 2):
            a = _next_pattern(a, edges[0], y, x)
            b = _next_pattern(b, edges[1], y, x)
            f = _next_pattern(f, edges[2], y, x)
            if x >= 2:
                total += table[a, f] + table[b, f]
    return total / (2 * height * width)


@compiled_fast
def _next_pattern(pattern: int, edges: NDArray[np.uint8], y: int, x: int) -> int:
    """Move a pattern one column on; its first column is the lowest three bits."""
    column = int(edges[y, x]) | int(edges[y + 1, x]) << 1 | int(edges[y + 2, x]) << 2
    return pattern >> 3 | column << 6


@compiled_fast
def _load_windows(feature: Doubles, y: int, x: int, count: int, part: Doubles) -> None:
    """Copy windows, column by column; what was beyond `count` stays and is not looked at."""
    for column in range(3):
        for row in range(3):
            source = feature[y + row, x + column : x + column + count]
            target = part[_P + (3 * column + row) * _N :]
            for n in range(count):
                target[n] = source[n]


@compiled_fast
def _load_pattern(pattern: int, n: int, part: Doubles) -> None:
    for k in range(9):
        part[_P + k * _N + n] = float((pattern >> k) & 1)


@compiled_fast
def _describe(part: Doubles, noise: float) -> None:
    """Turn windows into pdfs, and compute cdf, logarithms, entropy and moments."""
    for n in range(_N):
        low = part[_P + n]
        high = low
        for k in range(1, 9):
            value = part[_P + k * _N + n]
            low = value if value < low else low
            high = value if value > high else high
        span = high - low
        flat = span <= noise
        scale = 1.0 / (1.0 if flat else span)
        total = 0.0
        for k in range(9):
            above = part[_P + k * _N + n] - low
            value = above * scale if above > noise else 0.0
            value = 1.0 if flat else value
            part[_P + k * _N + n] = value
            total += value
        part[_ENTROPY + n] = 1.0 / total
    for k in range(9):
        for n in range(_N):
            p = part[_P + k * _N + n] * part[_ENTROPY + n]
            part[_P + k * _N + n] = p
            part[_L + k * _N + n] = log2(p if p > _TINY else 1.0)
    _accumulate(part)


@compiled_fast
def _accumulate(part: Doubles) -> None:
    """Compute cdf, entropy and moments of pdfs; the moments around the middle."""
    for n in range(_N):
        p0, p1, p2 = part[_P + n], part[_P + _N + n], part[_P + 2 * _N + n]
        p3, p4, p5 = part[_P + 3 * _N + n], part[_P + 4 * _N + n], part[_P + 5 * _N + n]
        p6, p7, p8 = part[_P + 6 * _N + n], part[_P + 7 * _N + n], part[_P + 8 * _N + n]
        part[_C + n] = p0
        part[_C + _N + n] = c1 = p0 + p1
        part[_C + 2 * _N + n] = c2 = c1 + p2
        part[_C + 3 * _N + n] = c3 = c2 + p3
        part[_C + 4 * _N + n] = c4 = c3 + p4
        part[_C + 5 * _N + n] = c5 = c4 + p5
        part[_C + 6 * _N + n] = c6 = c5 + p6
        part[_C + 7 * _N + n] = c7 = c6 + p7
        part[_CDF_SUM + n] = ((p0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7))
        mean = 4.0 * (p8 - p0) + 3.0 * (p7 - p1) + 2.0 * (p6 - p2) + (p5 - p3)
        square = 16.0 * (p8 + p0) + 9.0 * (p7 + p1) + 4.0 * (p6 + p2) + (p5 + p3)
        variance = square - mean * mean
        part[_DEVIATION + n] = math.sqrt(variance if variance > 0.0 else 0.0)
        entropy = p0 * part[_L + n] + p1 * part[_L + _N + n] + p2 * part[_L + 2 * _N + n]
        entropy += p3 * part[_L + 3 * _N + n] + p4 * part[_L + 4 * _N + n]
        entropy += p5 * part[_L + 5 * _N + n] + p6 * part[_L + 6 * _N + n]
        entropy += p7 * part[_L + 7 * _N + n] + p8 * part[_L + 8 * _N + n]
        part[_ENTROPY + n] = -entropy
    for n in range(_N):
        squares = 0.0
        for k in range(9):
            centred = part[_P + k * _N + n] - _NINTH
            squares += centred * centred
        part[_SQUARES + n] = squares


@compiled_fast
def _compare(block: Doubles, values: Doubles) -> None:
    """Compute 2 * mi / (H(a) + H(f)) of each window from the parts F and A."""
    _correlate(block)
    _pair_quantiles(block)
    _mix(block)
    _add_cells_of_f(block)
    _add_cells_of_q(block)
    for n in range(_N):
        rest = 1.0 - block[_PHI + n]
        start_f, start_q = block[_F + _C + 7 * _N + n], block[_Q + _C + 7 * _N + n]
        start = start_f if start_f > start_q else start_q
        product = rest * block[_F + _P + 8 * _N + n] * block[_Q + _P + 8 * _N + n]
        logs = block[_F + _L + 8 * _N + n] + block[_Q + _L + 8 * _N + n] + block[_LOG_REST + n]
        cell = block[_PHI + n] * (1.0 - start) + product
        joint = block[_JOINT + n] + product * logs - _times_log(cell)
        entropies = block[_F + _ENTROPY + n] + block[_A + _ENTROPY + n]
        value = 2.0 * (entropies - joint) / (entropies if entropies > 0.0 else 1.0)
        values[n] = value if entropies > 0.0 else 0.0


@compiled_fast
def _correlate(block: Doubles) -> None:
    """Write the Pearson correlation of f and a where phi will be; 0 if their covariance is 0."""
    for n in range(_N):
        covariance = 0.0
        for k in range(9):
            f, a = block[_F + _P + k * _N + n], block[_A + _P + k * _N + n]
            covariance += (f - _NINTH) * (a - _NINTH)
        squares = block[_F + _SQUARES + n] * block[_A + _SQUARES + n]
        correlation = covariance / math.sqrt(squares if squares > 0.0 else 1.0)
        block[_PHI + n] = correlation if squares > 0.0 else 0.0


@compiled_fast
def _pair_quantiles(block: Doubles) -> None:
    """Write a to the part Q, in reverse where the correlation is negative."""
    _copy_or_reverse(block, _P)
    _copy_or_reverse(block, _L)
    for n in range(_N):
        total = 0.0
        for k in range(8):
            total += block[_Q + _P + k * _N + n]
            block[_Q + _C + k * _N + n] = total


@compiled_fast
def _copy_or_reverse(block: Doubles, row: int) -> None:
    for n in range(_N):
        same = block[_PHI + n] >= 0.0
        a, q = _A + row + n, _Q + row + n
        v0, v1, v2 = block[a], block[a + _N], block[a + 2 * _N]
        v3, v4, v5 = block[a + 3 * _N], block[a + 4 * _N], block[a + 5 * _N]
        v6, v7, v8 = block[a + 6 * _N], block[a + 7 * _N], block[a + 8 * _N]
        block[q] = v0 if same else v8
        block[q + _N] = v1 if same else v7
        block[q + 2 * _N] = v2 if same else v6
        block[q + 3 * _N] = v3 if same else v5
        block[q + 4 * _N] = v4
        block[q + 5 * _N] = v5 if same else v3
        block[q + 6 * _N] = v6 if same else v2
        block[q + 7 * _N] = v7 if same else v1
        block[q + 8 * _N] = v8 if same else v0


@compiled_fast
def _mix(block: Doubles) -> None:
    """Turn the correlation into phi, and start the joint entropy with f_i * a_j in all cells."""
    for n in range(_N):
        correlation = block[_PHI + n]
        bound = 0.0
        for i in range(8):
            f = block[_F + _C + i * _N + n]
            for j in range(8):
                q = block[_Q + _C + j * _N + n]
                bound += f if f < q else q
        a_sum = block[_A + _CDF_SUM + n]
        q_sum = a_sum if correlation >= 0.0 else 8.0 - a_sum
        bound -= block[_F + _CDF_SUM + n] * q_sum
        deviations = block[_F + _DEVIATION + n] * block[_A + _DEVIATION + n]
        strength = abs(correlation) * deviations / (bound if bound > 0.0 else 1.0)
        phi = strength if bound > 0.0 else 0.0
        rest = abs(1.0 - phi)
        log_rest = log2(rest if rest > _TINY else 1.0)
        entropies = block[_F + _ENTROPY + n] + block[_A + _ENTROPY + n]
        block[_PHI + n] = phi
        block[_LOG_REST + n] = log_rest
        block[_JOINT + n] = -(1.0 - phi) * (log_rest - entropies)


@compiled_fast
def _add_cells_of_f(block: Doubles) -> None:
    """Correct the joint entropy in the cells whose piece of 0..1 ends at a step of f's cdf."""
    for i in range(8):
        for n in range(_N):
            end, before = block[_F + _C + i * _N + n], block[_F + _C + (i - 1) * _N + n]
            start, p, log = 0.0, block[_Q + _P + n], block[_Q + _L + n]
            for j in range(8):
                step = block[_Q + _C + j * _N + n]
                next_p, next_log = (
                    block[_Q + _P + (j + 1) * _N + n],
                    block[_Q + _L + (j + 1) * _N + n],
                )
                passed = step < end
                start = step if passed else start
                p = next_p if passed else p
                log = next_log if passed else log
            start = before if i > 0 and before > start else start
            product = (1.0 - block[_PHI + n]) * block[_F + _P + i * _N + n] * p
            logs = block[_F + _L + i * _N + n] + log + block[_LOG_REST + n]
            cell = block[_PHI + n] * (end - start) + product
            block[_JOINT + n] += product * logs - _times_log(cell)


@compiled_fast
def _add_cells_of_q(block: Doubles) -> None:
    """Correct the joint entropy in the cells whose piece of 0..1 ends at a step of q's cdf."""
    for j in range(8):
        for n in range(_N):
            end, before = block[_Q + _C + j * _N + n], block[_Q + _C + (j - 1) * _N + n]
            start, p, log = 0.0, block[_F + _P + n], block[_F + _L + n]
            for i in range(8):
                step = block[_F + _C + i * _N + n]
                next_p, next_log = (
                    block[_F + _P + (i + 1) * _N + n],
                    block[_F + _L + (i + 1) * _N + n],
                )
                passed = step <= end  # a step of both ends a cell of f
                start = step if passed else start
                p = next_p if passed else p
                log = next_log if passed else log
            start = before if j > 0 and before > start else start
            product = (1.0 - block[_PHI + n]) * block[_Q + _P + j * _N + n] * p
            logs = block[_Q + _L + j * _N + n] + log + block[_LOG_REST + n]
            cell = block[_PHI + n] * (end - start) + product
            block[_JOINT + n] += product * logs - _times_log(cell)


@inlined
def _times_log(value: float) -> float:
    """Value times log2 |value|, 0 at 0: the real part where a cell is slightly negative."""
    size = abs(value)
    return value * log2(size if size > _TINY else 1.0)


@compiled_fast
def _sum_values(
    a: Doubles, f: Doubles, y: int, x: int, count: int, noise: float, values: Doubles
) -> float:
    """Sum the values, 1 for identical windows."""
    total = 0.0
    for n in range(count):
        difference = 0.0
        for row in range(3):
            for column in range(3):
                d = abs(a[y + row, x + n + column] - f[y + row, x + n + column])
                difference = d if d > difference else difference
        total += values[n] if difference > noise else 1.0
    return total
