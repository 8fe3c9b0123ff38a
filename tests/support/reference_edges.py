"""The two edge measures once more, Qabf and Nabf, pixel by pixel in float64.

Both hang on exact zeros and ties of the Sobel sums, so each sum is taken in the order that its
definition states.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Kernel = tuple[tuple[float, ...], ...]
Gradient = tuple[float, float]
"""Strength and orientation."""

QABF_X: Kernel = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
QABF_Y: Kernel = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))
NABF_V: Kernel = ((-1 / 8, 0, 1 / 8), (-2 / 8, 0, 2 / 8), (-1 / 8, 0, 1 / 8))
NABF_H: Kernel = ((-1 / 8, -2 / 8, -1 / 8), (0, 0, 0), (1 / 8, 2 / 8, 1 / 8))


def qabf(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Edge strength and orientation kept from both sources, weighted by the sources' strength."""
    top, bottom = [], []
    for a, b, f in zip(*map(_qabf_gradients, (ir, vis, fused)), strict=True):
        top += [_qabf_kept(a, f) * a[0], _qabf_kept(b, f) * b[0]]
        bottom += [a[0], b[0]]
    return math.fsum(top) / math.fsum(bottom) if any(bottom) else math.nan


def nabf(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Edges of F stronger than those of both sources, as far as neither source explains them."""
    if min(fused.shape) < 2:
        return math.nan  # a border pixel without a neighbour has no mirror image
    top, bottom = [], []
    for a, b, f in zip(*map(_nabf_gradients, (ir, vis, fused)), strict=True):
        weights = [x[0] ** 1.5 if x[0] >= 2 else 0.001 for x in (a, b)]
        bottom += weights
        if f[0] > a[0] and f[0] > b[0]:
            top += [(1 - _nabf_kept(x, f)) * w for x, w in zip((a, b), weights, strict=True)]
    return math.fsum(top) / math.fsum(bottom)


def _qabf_gradients(image: Gray) -> list[Gradient]:
    padded = np.pad(image / 255.0, 1).tolist()
    gradients = []
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            x = _convolve(padded, row, column, QABF_X)
            y = _convolve(padded, row, column, QABF_Y)
            angle = math.pi / 2 if x == 0 else math.atan(y / x)
            gradients.append((math.sqrt(x * x + y * y), angle))
    return gradients


def _convolve(padded: list[list[float]], row: int, column: int, kernel: Kernel) -> float:
    flipped = [line[::-1] for line in kernel[::-1]]
    total = 0.0
    for j in (2, 1, 0):
        for i in (2, 1, 0):
            total += flipped[i][j] * padded[row + i][column + j]
    return total


def _qabf_kept(source: Gradient, fused: Gradient) -> float:
    if source[0] == fused[0]:
        strength = fused[0]
    else:
        strength = min(source[0], fused[0]) / max(source[0], fused[0])
    alignment = 1 - abs(source[1] - fused[1]) / (math.pi / 2)
    return (
        0.9994
        / (1 + math.exp(-15 * (strength - 0.5)))
        * (0.9879 / (1 + math.exp(-22 * (alignment - 0.8))))
    )


def _nabf_gradients(image: Gray) -> list[Gradient]:
    padded = np.pad(image / 255.0, 1, mode="reflect").tolist()
    gradients = []
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            vertical = _correlate(padded, row, column, NABF_V)
            horizontal = _correlate(padded, row, column, NABF_H)
            strength = math.sqrt(horizontal * horizontal + vertical * vertical)
            gradients.append((strength, _nabf_angle(vertical, horizontal)))
    return gradients


def _correlate(padded: list[list[float]], row: int, column: int, kernel: Kernel) -> float:
    total = 0.0
    for j in range(3):
        column_total = 0.0
        for i in range(3):
            column_total += kernel[i][j] * padded[row + i][column + j]
        total += column_total
    return total


def _nabf_angle(vertical: float, horizontal: float) -> float:
    if horizontal == 0:  # atan of an infinite ratio; o is the same for either sign of it
        return math.copysign(math.pi / 2, vertical) if vertical else 0.0
    return math.atan(vertical / horizontal)


def _nabf_kept(source: Gradient, fused: Gradient) -> float:
    lower, upper = sorted((source[0], fused[0]))
    strength = 0.0 if lower == 0 else lower / upper
    alignment = abs(abs(source[1] - fused[1]) - math.pi / 2) * 2 / math.pi
    return math.sqrt(
        0.9999
        / (1 + math.exp(-19 * (strength - 0.5)))
        * (0.9995 / (1 + math.exp(-22 * (alignment - 0.5))))
    )
