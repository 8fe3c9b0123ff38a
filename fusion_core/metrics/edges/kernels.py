"""Qabf and Nabf, row by row.

The orders of the sums in the gradients are those of the definitions: flat areas depend on sums that
are exactly zero, and ties between images on sums that are exactly equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled, compiled_fast, inlined
from fusion_core.compiled.vector_math import arctan_of_quotient, exp

Doubles = NDArray[np.float64]
_HALF_PI = math.pi / 2.0
_LARGEST_RATIO = 40.0
"""A larger one gives the same strength, 0.9994, and may exceed the range of `exp`."""


@compiled
def qabf_sums(a: Doubles, b: Doubles, f: Doubles) -> tuple[float, float]:
    """Numerator and denominator of Qabf.

    Args:
        a: A with a border of zeros: `(H + 2, W + 2)`.
        b: B, likewise.
        f: F, likewise.
    """
    height, width = f.shape[0] - 2, f.shape[1] - 2
    strength, angle = np.empty((3, width)), np.empty((3, width))
    kept, weights = np.empty(width), np.empty(width)
    numerator, denominator = 0.0, 0.0
    for y in range(height):
        _fill_row((a, b, f), y, _qabf_gradient, strength, angle)
        kept[:] = 0.0
        weights[:] = 0.0
        for n in range(2):
            _add_qabf(n, strength, angle, kept, weights)
        numerator += _total(kept)
        denominator += _total(weights)
    return numerator, denominator


@compiled
def nabf_sum(a: Doubles, b: Doubles, f: Doubles) -> float:
    """Sum of `(1 - Q_AF) + (1 - Q_BF)` over the artefacts.

    Args:
        a: A with a mirrored border: `(H + 2, W + 2)`.
        b: B, likewise.
        f: F, likewise.
    """
    height, width = f.shape[0] - 2, f.shape[1] - 2
    strength, angle = np.empty((3, width)), np.empty((3, width))
    added = np.empty(width)
    total = 0.0
    for y in range(height):
        _fill_row((a, b, f), y, _nabf_gradient, strength, angle)
        added[:] = 0.0
        for n in range(2):
            _add_nabf(n, strength, angle, added)
        total += _total(added)
    return total


@inlined
def _fill_row(
    images: tuple[Doubles, ...],
    y: int,
    gradient: Callable[..., None],
    strength: Doubles,
    angle: Doubles,
) -> None:
    """Compute the gradients of A, B and F in one row."""
    for n in range(3):
        image = images[n]
        gradient(image[y], image[y + 1], image[y + 2], strength[n], angle[n])


@compiled
def _qabf_gradient(
    above: Doubles, centre: Doubles, below: Doubles, strength: Doubles, angle: Doubles
) -> None:
    """Sobel gradient; nine products one after the other, last column and last row first."""
    for x in range(strength.size):
        sx = -below[x + 2] - 2.0 * centre[x + 2] - above[x + 2] + below[x]
        sx = sx + 2.0 * centre[x] + above[x]
        sy = below[x + 2] - above[x + 2] + 2.0 * below[x + 1] - 2.0 * above[x + 1]
        sy = sy + below[x] - above[x]
        strength[x] = math.sqrt(sx * sx + sy * sy)
        vertical = sx == 0.0
        slope = arctan_of_quotient(sy, 1.0 if vertical else sx)
        angle[x] = _HALF_PI if vertical else slope


@compiled
def _add_qabf(n: int, strength: Doubles, angle: Doubles, kept: Doubles, weights: Doubles) -> None:
    """Add one source's `Q * g` and `g` to each pixel's sums."""
    source, source_angle, fused, fused_angle = strength[n], angle[n], strength[2], angle[2]
    for x in range(kept.size):
        g, f = source[x], fused[x]
        stronger = f > g
        small, large = (g, f) if stronger else (f, g)
        ratio = small / (large if large > 0.0 else 1.0)
        ratio = min(f, _LARGEST_RATIO) if f == g else ratio
        alignment = 1.0 - abs(source_angle[x] - fused_angle[x]) / _HALF_PI
        quality = 0.9994 / (1.0 + exp(-15.0 * (ratio - 0.5)))
        quality *= 0.9879 / (1.0 + exp(-22.0 * (alignment - 0.8)))
        kept[x] += quality * g
        weights[x] += g


@compiled
def _nabf_gradient(
    above: Doubles, centre: Doubles, below: Doubles, strength: Doubles, angle: Doubles
) -> None:
    """Sobel gradient over 8; each column from top to bottom, then the columns left to right."""
    for x in range(strength.size):
        left = above[x] + 2.0 * centre[x] + below[x]
        right = above[x + 2] + 2.0 * centre[x + 2] + below[x + 2]
        gv = (right - left) * 0.125
        gh = (below[x] - above[x]) + 2.0 * (below[x + 1] - above[x + 1])
        gh = (gh + (below[x + 2] - above[x + 2])) * 0.125
        strength[x] = math.sqrt(gh * gh + gv * gv)
        vertical = gh == 0.0
        slope = arctan_of_quotient(gv, 1.0 if vertical else gh)
        upright = _HALF_PI if gv > 0.0 else (-_HALF_PI if gv < 0.0 else 0.0)
        angle[x] = upright if vertical else slope


@compiled
def _add_nabf(n: int, strength: Doubles, angle: Doubles, added: Doubles) -> None:
    """Add one source's `1 - Q` to each pixel's sum where F exceeds both sources."""
    g, a, other = strength[n], angle[n], strength[1 - n]
    fused, fused_angle = strength[2], angle[2]
    for x in range(added.size):
        small, large = (g[x], fused[x]) if fused[x] > g[x] else (fused[x], g[x])
        ratio = 0.0 if small == 0.0 else small / (large if large > 0.0 else 1.0)
        orientation = abs(abs(a[x] - fused_angle[x]) - _HALF_PI) / _HALF_PI
        quality = 0.9999 / (1.0 + exp(-19.0 * (ratio - 0.5)))
        quality *= 0.9995 / (1.0 + exp(-22.0 * (orientation - 0.5)))
        artefact = fused[x] > g[x] and fused[x] > other[x]
        added[x] += 1.0 - math.sqrt(quality) if artefact else 0.0


@compiled_fast
def _total(values: Doubles) -> float:
    total = 0.0
    for x in range(values.size):
        total += values[x]
    return total
