"""Mutual information of two 3x3 windows as distributions, 64 pairs of windows at a time.

Everything about a block of windows lies in one flat array, each quantity in a row of 64 windows, at
constant distances, which is what lets the loops become vector instructions. Differences within a
window are taken in float64, and everything after them in float32, as on other devices: it moves the
mean of an image by some 2e-8. All constants are float32, because one float64 number would widen the
operations that follow.

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

from fusion_core.compiled.compiling import compiled_fast, inlined
from fusion_core.compiled.vector_math import log2_single

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

BLOCK = 64
"""Number of windows in a block."""
_TINY = np.float32(1e-37)
_NINTH = np.float32(1.0 / 9.0)
_ZERO, _ONE, _TWO, _THREE, _FOUR = (np.float32(n) for n in range(5))
_EIGHT, _NINE, _SIXTEEN = np.float32(8.0), np.float32(9.0), np.float32(16.0)

# Rows of one pdf's part of the array: 9 probabilities, 9 cumulated, 9 logarithms, and moments.
PDF, _CDF, _LOG = 0, 9 * BLOCK, 18 * BLOCK
_ENTROPY, _DEVIATION, _CDF_SUM, _SQUARES = 27 * BLOCK, 28 * BLOCK, 29 * BLOCK, 30 * BLOCK
_PART = 31 * BLOCK

# The parts: F, the source a, and a as it is paired with F: q, reversed for a lower bound.
FUSED, SOURCE, _PAIRED = 0, _PART, 2 * _PART
_PHI, _LOG_REST, _JOINT = _PAIRED + 27 * BLOCK, _PAIRED + 28 * BLOCK, _PAIRED + 29 * BLOCK
SIZE = 3 * _PART


@compiled_fast
def describe(windows: Doubles, noise: float, part: Singles) -> None:
    """Turn windows into pdfs, and compute cdf, logarithms, entropy and moments.

    Args:
        windows: Values of the windows: `(9 * 64,)`.
        noise: Differences up to this value count as zero.
        part: Written: `(31 * 64,)`.
    """
    for n in range(BLOCK):
        low = windows[n]
        high = low
        for k in range(1, 9):
            value = windows[k * BLOCK + n]
            low = value if value < low else low
            high = value if value > high else high
        span = high - low
        flat = span <= noise
        scale = _ONE / np.float32(1.0 if flat else span)
        total = _ZERO
        for k in range(9):
            above = windows[k * BLOCK + n] - low
            share = np.float32(above if above > noise else 0.0) * scale
            share = _ONE if flat else share
            part[PDF + k * BLOCK + n] = share
            total += share
        part[_ENTROPY + n] = _ONE / total  # until the entropy is known
    for k in range(9):
        for n in range(BLOCK):
            p = part[PDF + k * BLOCK + n] * part[_ENTROPY + n]
            part[PDF + k * BLOCK + n] = p
            part[_LOG + k * BLOCK + n] = log2_single(p if p > _TINY else _ONE)
    _accumulate(part)


@compiled_fast
def _accumulate(part: Singles) -> None:
    """Compute cdf, entropy and moments of pdfs; the moments around the middle."""
    for n in range(BLOCK):
        p0, p1, p2 = part[PDF + n], part[PDF + BLOCK + n], part[PDF + 2 * BLOCK + n]
        p3, p4, p5 = part[PDF + 3 * BLOCK + n], part[PDF + 4 * BLOCK + n], part[PDF + 5 * BLOCK + n]
        p6, p7, p8 = part[PDF + 6 * BLOCK + n], part[PDF + 7 * BLOCK + n], part[PDF + 8 * BLOCK + n]
        part[_CDF + n] = p0
        part[_CDF + BLOCK + n] = c1 = p0 + p1
        part[_CDF + 2 * BLOCK + n] = c2 = c1 + p2
        part[_CDF + 3 * BLOCK + n] = c3 = c2 + p3
        part[_CDF + 4 * BLOCK + n] = c4 = c3 + p4
        part[_CDF + 5 * BLOCK + n] = c5 = c4 + p5
        part[_CDF + 6 * BLOCK + n] = c6 = c5 + p6
        part[_CDF + 7 * BLOCK + n] = c7 = c6 + p7
        part[_CDF_SUM + n] = ((p0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7))
        mean = _FOUR * (p8 - p0) + _THREE * (p7 - p1) + _TWO * (p6 - p2) + (p5 - p3)
        square = _SIXTEEN * (p8 + p0) + _NINE * (p7 + p1) + _FOUR * (p6 + p2) + (p5 + p3)
        variance = square - mean * mean
        part[_DEVIATION + n] = math.sqrt(variance if variance > _ZERO else _ZERO)
        entropy = (
            p0 * part[_LOG + n] + p1 * part[_LOG + BLOCK + n] + p2 * part[_LOG + 2 * BLOCK + n]
        )
        entropy += p3 * part[_LOG + 3 * BLOCK + n] + p4 * part[_LOG + 4 * BLOCK + n]
        entropy += p5 * part[_LOG + 5 * BLOCK + n] + p6 * part[_LOG + 6 * BLOCK + n]
        entropy += p7 * part[_LOG + 7 * BLOCK + n] + p8 * part[_LOG + 8 * BLOCK + n]
        part[_ENTROPY + n] = -entropy
    for n in range(BLOCK):
        squares = _ZERO
        for k in range(9):
            centred = part[PDF + k * BLOCK + n] - _NINTH
            squares += centred * centred
        part[_SQUARES + n] = squares


@compiled_fast
def compare(block: Singles, values: Singles) -> None:
    """Compute 2 * mi / (H(a) + H(f)) of each pair of windows.

    Args:
        block: `(3 * 31 * 64,)`, the parts of F and of the source described; the third is written.
        values: Written: `(64,)`.
    """
    _correlate(block)
    _pair_quantiles(block)
    _mix(block)
    _add_cells(block, FUSED, _PAIRED, False)
    _add_cells(block, _PAIRED, FUSED, True)
    _add_last_cell(block)
    for n in range(BLOCK):
        entropies = block[FUSED + _ENTROPY + n] + block[SOURCE + _ENTROPY + n]
        mutual = _TWO * (entropies - block[_JOINT + n])
        value = mutual / (entropies if entropies > _ZERO else _ONE)
        values[n] = value if entropies > _ZERO else _ZERO


@compiled_fast
def _correlate(block: Singles) -> None:
    """Write the Pearson correlation of f and a where phi will be; 0 if their covariance is 0."""
    for n in range(BLOCK):
        covariance = _ZERO
        for k in range(9):
            f, a = block[FUSED + PDF + k * BLOCK + n], block[SOURCE + PDF + k * BLOCK + n]
            covariance += (f - _NINTH) * (a - _NINTH)
        squares = block[FUSED + _SQUARES + n] * block[SOURCE + _SQUARES + n]
        correlation = covariance / math.sqrt(squares if squares > _ZERO else _ONE)
        block[_PHI + n] = correlation if squares > _ZERO else _ZERO


@compiled_fast
def _pair_quantiles(block: Singles) -> None:
    """Write a to the part Q, in reverse where the correlation is negative."""
    _copy_or_reverse(block, PDF)
    _copy_or_reverse(block, _LOG)
    for n in range(BLOCK):
        total = _ZERO
        for k in range(8):
            total += block[_PAIRED + PDF + k * BLOCK + n]
            block[_PAIRED + _CDF + k * BLOCK + n] = total


@compiled_fast
def _copy_or_reverse(block: Singles, row: int) -> None:
    for n in range(BLOCK):
        same = block[_PHI + n] >= _ZERO
        a, q = SOURCE + row + n, _PAIRED + row + n
        v0, v1, v2 = block[a], block[a + BLOCK], block[a + 2 * BLOCK]
        v3, v4, v5 = block[a + 3 * BLOCK], block[a + 4 * BLOCK], block[a + 5 * BLOCK]
        v6, v7, v8 = block[a + 6 * BLOCK], block[a + 7 * BLOCK], block[a + 8 * BLOCK]
        block[q] = v0 if same else v8
        block[q + BLOCK] = v1 if same else v7
        block[q + 2 * BLOCK] = v2 if same else v6
        block[q + 3 * BLOCK] = v3 if same else v5
        block[q + 4 * BLOCK] = v4
        block[q + 5 * BLOCK] = v5 if same else v3
        block[q + 6 * BLOCK] = v6 if same else v2
        block[q + 7 * BLOCK] = v7 if same else v1
        block[q + 8 * BLOCK] = v8 if same else v0


@compiled_fast
def _mix(block: Singles) -> None:
    """Turn the correlation into phi, and start the joint entropy with f_i * a_j in all cells."""
    for n in range(BLOCK):
        correlation = block[_PHI + n]
        bound = _ZERO
        for i in range(8):
            f = block[FUSED + _CDF + i * BLOCK + n]
            for j in range(8):
                q = block[_PAIRED + _CDF + j * BLOCK + n]
                bound += f if f < q else q
        a_sum = block[SOURCE + _CDF_SUM + n]
        q_sum = a_sum if correlation >= _ZERO else _EIGHT - a_sum
        bound -= block[FUSED + _CDF_SUM + n] * q_sum
        deviations = block[FUSED + _DEVIATION + n] * block[SOURCE + _DEVIATION + n]
        strength = abs(correlation) * deviations / (bound if bound > _ZERO else _ONE)
        phi = strength if bound > _ZERO else _ZERO
        rest = abs(_ONE - phi)
        log_rest = log2_single(rest if rest > _TINY else _ONE)
        entropies = block[FUSED + _ENTROPY + n] + block[SOURCE + _ENTROPY + n]
        block[_PHI + n] = phi
        block[_LOG_REST + n] = log_rest
        block[_JOINT + n] = -(_ONE - phi) * (log_rest - entropies)


@inlined
def _add_cells(block: Singles, x: int, y: int, tied: bool) -> None:
    """Correct the joint entropy in the cells whose piece of 0..1 ends at a step of x's cdf.

    Args:
        block: The parts.
        x: Where the part of the pdf lies whose steps end the pieces.
        y: Where the other's lies.
        tied: Whether a step of both ends y's piece instead of x's; it must end one only.
    """
    for i in range(8):
        for n in range(BLOCK):
            end, before = block[x + _CDF + i * BLOCK + n], block[x + _CDF + (i - 1) * BLOCK + n]
            start, p, log = _ZERO, block[y + PDF + n], block[y + _LOG + n]
            for j in range(8):
                step, next_p = block[y + _CDF + j * BLOCK + n], block[y + PDF + (j + 1) * BLOCK + n]
                next_log = block[y + _LOG + (j + 1) * BLOCK + n]
                passed = step <= end if tied else step < end
                start = step if passed else start
                p = next_p if passed else p
                log = next_log if passed else log
            start = before if i > 0 and before > start else start
            product = (_ONE - block[_PHI + n]) * block[x + PDF + i * BLOCK + n] * p
            logs = block[x + _LOG + i * BLOCK + n] + log + block[_LOG_REST + n]
            cell = block[_PHI + n] * (end - start) + product
            block[_JOINT + n] += product * logs - _times_log(cell)


@compiled_fast
def _add_last_cell(block: Singles) -> None:
    """Correct the joint entropy in the cell whose piece ends at 1."""
    inner, last = 7 * BLOCK, 8 * BLOCK
    for n in range(BLOCK):
        start_f, start_q = block[FUSED + _CDF + inner + n], block[_PAIRED + _CDF + inner + n]
        start = start_f if start_f > start_q else start_q
        product = block[FUSED + PDF + last + n] * block[_PAIRED + PDF + last + n]
        product *= _ONE - block[_PHI + n]
        logs = block[FUSED + _LOG + last + n] + block[_PAIRED + _LOG + last + n]
        logs += block[_LOG_REST + n]
        cell = block[_PHI + n] * (_ONE - start) + product
        block[_JOINT + n] += product * logs - _times_log(cell)


@inlined
def _times_log(value: np.float32) -> np.float32:
    """Value times log2 |value|, 0 at 0: the real part where a cell is slightly negative."""
    size = abs(value)
    return value * log2_single(size if size > _TINY else _ONE)
