"""Feature mutual information once more (Haghighat & Razian 2014), one 3x3 window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Map = NDArray[np.float64]
Window = tuple[float, ...]

NOISE = 2.0**-46
"""Largest difference of two levels in a window that counts as none; 0 for the bare definition.

Coefficients that are equal in exact arithmetic, such as the zeros of a flat image's DCT, differ in
float64 by noise that depends on the transform's order of operations, up to 5e-15 of the map's
range. The value jumps where a window becomes flat, becomes equal to the other, or keeps a single
level above its lowest: these three are decided up to NOISE. The range is 1 for the Meyer map and
for the DCT divided by the first coefficient of a white image. Published rows stay
where they are, but for FMI_w of pair 20 (a wide black area), which moves by less than 1e-5.
"""

SLACK = 100 * float(np.finfo(np.float64).eps)

CUTOFF_SLACK = 2.0**-40
"""How far, relative to the cutoff, a pixel must exceed it to be an edge; 0 for the bare cutoff.

Where a quarter of the pixels hold one strength and the rest none, that strength is the cutoff in
exact arithmetic, and on either side of it in float64.
"""

TAPS = 50
"""The Meyer filter reaches from -50 to 50."""


def fmi_pixel(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of the binary Sobel edge maps."""
    return _feature_mi(ir, vis, fused, edge_map)


def fmi_dct(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of the orthonormal DCT-II of the whole images, up to a factor common to all three."""
    white = math.sqrt(fused.size)
    return _feature_mi(ir, vis, fused, lambda image: cosine_map(image / 255.0) / white)


def fmi_w(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of one level of the discrete Meyer transform, scaled to [0, 1]."""
    return _feature_mi(ir, vis, fused, lambda image: meyer_map(image / 255.0))


def _feature_mi(ir: Gray, vis: Gray, fused: Gray, feature: Callable[[Gray], Map]) -> float:
    if min(fused.shape) < 3:
        return math.nan
    maps = [_windows(feature(image)) for image in (ir, vis, fused)]
    values = [
        (_window_information(a, f) + _window_information(b, f)) / 2
        for a, b, f in zip(*maps, strict=True)
    ]
    _window_information.cache_clear()
    return math.fsum(values) / len(values)


def _windows(feature: Map) -> list[Window]:
    height, width = feature.shape
    return [
        tuple(feature[row : row + 3, column : column + 3].ravel(order="F").tolist())
        for row in range(height - 2)
        for column in range(width - 2)
    ]


@cache
def _window_information(source: Window, fused: Window) -> float:
    if all(abs(p - q) <= NOISE for p, q in zip(source, fused, strict=True)):
        return 1.0
    a, f = _pdf(source), _pdf(fused)
    joint = _joint_pdf(f, a, _correlation(a, f))
    entropies = _entropy(a) + _entropy(f)
    information = entropies - _entropy([cell for line in joint for cell in line])
    return 0.0 if information == 0 else 2 * information / entropies


def _pdf(window: Window) -> list[float]:
    low = min(window)
    rises = [value - low if value - low > NOISE else 0.0 for value in window]
    highest = max(rises)
    scaled = [rise / highest if highest else 1.0 for rise in rises]
    total = math.fsum(scaled)
    return [value / total for value in scaled]


def _correlation(a: list[float], f: list[float]) -> float:
    """Pearson correlation, 0 if either is flat: a covariance with a constant is 0."""
    if len(set(a)) == 1 or len(set(f)) == 1:
        return 0.0
    # both sum to 1
    x, y = [value - 1 / 9 for value in a], [value - 1 / 9 for value in f]
    return _dot(x, y) / math.sqrt(_dot(x, x) * _dot(y, y))


def _dot(x: list[float], y: list[float]) -> float:
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


def _joint_pdf(f: list[float], a: list[float], correlation: float) -> list[list[float]]:
    cdf_f, cdf_a = list(accumulate(f)), list(accumulate(a))
    bound = [[0.0] * 10 for _ in range(10)]  # row and column 0 lie outside
    for i in range(9):
        for j in range(9):
            if correlation >= 0:
                bound[i + 1][j + 1] = min(cdf_f[i], cdf_a[j])
            else:
                bound[i + 1][j + 1] = max(cdf_f[i] + cdf_a[j] - 1, 0.0)
    covariance = math.fsum(
        bound[i + 1][j + 1] - cdf_f[i] * cdf_a[j] for i in range(9) for j in range(9)
    )
    deviations = _deviation(f) * _deviation(a)
    phi = 0.0
    if correlation != 0 and deviations != 0:
        phi = correlation / (covariance / deviations)
    return [
        [
            phi * (bound[i + 1][j + 1] - bound[i][j + 1] - bound[i + 1][j] + bound[i][j])
            + (1 - phi) * f[i] * a[j]
            for j in range(9)
        ]
        for i in range(9)
    ]


def _deviation(pdf: list[float]) -> float:
    """Return σ of the position; E[(i - E[i])²] is E[i²] - E[i]² without its cancellation."""
    mean = math.fsum(i * p for i, p in enumerate(pdf, start=1))
    return math.sqrt(math.fsum((i - mean) ** 2 * p for i, p in enumerate(pdf, start=1)))


def _entropy(pdf: list[float]) -> float:
    return math.fsum(-p * math.log2(abs(p)) for p in pdf if p != 0)


def edge_map(image: Gray) -> Map:
    """Threshold and thin the squared Sobel gradient.

    Steps give ties in b, so the order of the sums counts. This one, the line of minus signs
    before the line of plus signs, returns the published doubles to 1e-14.
    """
    padded = np.pad(image / 255.0, 1, mode="edge").tolist()
    height, width = image.shape
    bx, by, b = ([[0.0] * (width + 2) for _ in range(height + 2)] for _ in range(3))
    for row in range(1, height + 1):
        for column in range(1, width + 1):
            (p, q, r), (s, _, t), (u, v, w) = (
                padded[i][column - 1 : column + 2] for i in (row - 1, row, row + 1)
            )
            x = bx[row][column] = (-p - 2 * s - u + r + 2 * t + w) / 8
            y = by[row][column] = (-p - 2 * q - r + u + 2 * v + w) / 8
            b[row][column] = x * x + y * y
    cutoff = 4 * math.fsum(value for line in b for value in line) / image.size
    edges = np.zeros((height, width))
    for row in range(1, height + 1):
        for column in range(1, width + 1):
            here, x, y = b[row][column], abs(bx[row][column]), abs(by[row][column])
            across = x >= y - SLACK and b[row][column - 1] <= here > b[row][column + 1]
            down = y >= x - SLACK and b[row - 1][column] <= here > b[row + 1][column]
            edges[row - 1, column - 1] = here > cutoff * (1 + CUTOFF_SLACK) and (across or down)
    return edges


def cosine_map(image: Map) -> Map:
    return _cosines(image.shape[0]) @ image @ _cosines(image.shape[1]).T


def _cosines(size: int) -> Map:
    k, n = np.arange(size)[:, None], np.arange(size)[None, :]
    # a whole number of turns less, for the accuracy of the cosine
    matrix = np.sqrt(2 / size) * np.cos((2 * n + 1) * k % (4 * size) * (np.pi / (2 * size)))
    matrix[0] /= math.sqrt(2)
    return np.asarray(matrix)


def meyer_map(image: Map) -> Map:
    reconstruction = meyer_low_pass()
    mirror = [(-1) ** n * tap for n, tap in enumerate(reconstruction[::-1])]
    low, high = reconstruction[::-1], mirror[::-1]
    left, right = _analyse(image.T, low).T, _analyse(image.T, high).T
    coefficients = np.block(
        [[_analyse(left, low), _analyse(left, high)], [_analyse(right, low), _analyse(right, high)]]
    )
    bottom, top = coefficients.min(), coefficients.max()
    if bottom == top:
        return np.ones_like(coefficients)
    return np.asarray((coefficients - bottom) / (top - bottom))


def _analyse(columns: Map, taps: list[float]) -> Map:
    """Convolve each column with the filter and keep every other sample, the second one first.

    Beyond the border the column is mirrored, border sample included, as often as needed.
    """
    size = columns.shape[0]
    output = np.zeros(((size + len(taps) - 1) // 2, columns.shape[1]))
    for k in range(output.shape[0]):
        for j, tap in enumerate(taps):
            position = (2 * k + 1 - j) % (2 * size)
            output[k] += tap * columns[min(position, 2 * size - 1 - position)]
    return output


@cache
def meyer_low_pass() -> list[float]:
    """Return the 102 taps of the reconstruction low-pass.

    The transfer function is 1 up to pi/3, a cosine ramp up to 2·pi/3 and 0 beyond: the integral
    over the first part is elementary, the one over the ramp is taken by Gauss' rule.
    """
    nodes, weights = leggauss(200)
    w = math.pi / 2 + nodes * math.pi / 6
    t = 3 * 2 * w / (2 * math.pi) - 1
    ramp = np.cos(math.pi / 2 * t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3))
    taps = []
    for n in range(-TAPS, TAPS + 1):
        plateau = math.pi / 3 if n == 0 else math.sin(n * math.pi / 3) / n
        sloped = math.pi / 6 * math.fsum((weights * ramp * np.cos(n * w)).tolist())
        taps.append(math.sqrt(2) / math.pi * (plateau + sloped))
    taps.append(0.0)
    return [tap * math.sqrt(2) / math.fsum(taps) for tap in taps]
