"""The metrics once more, from their definitions: plain loops in float64, slow on purpose.

Each function takes `ir, vis, fused` as `(H, W)` uint8 and returns one number, NaN where the
definition divides zero by zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]


def entropy(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Shannon entropy in bits of the 256-bin histogram of F."""
    counts = Counter(fused.ravel().tolist())
    return math.fsum(n / fused.size * math.log2(fused.size / n) for n in counts.values())


def mutual_information(ir: Gray, vis: Gray, fused: Gray) -> float:
    """I(A;F) + I(B;F) in bits, each the divergence of joint from independent levels."""
    return _information(ir, fused) + _information(vis, fused)


def mutual_information_as_published(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Twice the entropy of F."""
    return 2 * entropy(ir, vis, fused)


def scd(ir: Gray, vis: Gray, fused: Gray) -> float:
    """corr(F - B, A) + corr(F - A, B) over all pixels."""
    a, b, f = ([value / 255 for value in image.ravel().tolist()] for image in (ir, vis, fused))
    whole = [image.ravel().tolist() for image in (ir, vis, fused)]
    differences = [[x - y for x, y in zip(whole[2], source, strict=True)] for source in whole[:2]]
    if any(len(set(values)) == 1 for values in (*whole[:2], *differences)):
        return math.nan
    return _pearson([x - y for x, y in zip(f, b, strict=True)], a) + _pearson(
        [x - y for x, y in zip(f, a, strict=True)], b
    )


def ssim_a(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Mean of SSIM(F, A) and SSIM(F, B): Gaussian 11x11, sigma 1.5, border repeated, L = 1."""
    return (_ssim(fused, ir) + _ssim(fused, vis)) / 2


REFERENCES: dict[str, Callable[[Gray, Gray, Gray], float]] = {
    "EN": entropy,
    "MI": mutual_information,
    "MI_as_published": mutual_information_as_published,
    "SCD": scd,
    "SSIM_a": ssim_a,
}


def _information(source: Gray, fused: Gray) -> float:
    total = fused.size
    pairs = Counter(zip(source.ravel().tolist(), fused.ravel().tolist(), strict=True))
    first, second = Counter(source.ravel().tolist()), Counter(fused.ravel().tolist())
    return math.fsum(
        n / total * math.log2(n * total / (first[x] * second[y])) for (x, y), n in pairs.items()
    )


def _pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    x, y = [value - mean_x for value in x], [value - mean_y for value in y]
    return _dot(x, y) / math.sqrt(_dot(x, x) * _dot(y, y))


def _dot(x: Iterable[float], y: Iterable[float]) -> float:
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


def _ssim(first: Gray, second: Gray) -> float:
    x, y = first / 255.0, second / 255.0
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    height, width = x.shape
    values = []
    for row in range(height):
        rows = np.clip(row + offsets, 0, height - 1)
        for column in range(width):
            block = np.ix_(rows, np.clip(column + offsets, 0, width - 1))
            mean_x, mean_y = (window * x[block]).sum(), (window * y[block]).sum()
            delta_x, delta_y = x[block] - mean_x, y[block] - mean_y
            variances = (window * delta_x**2).sum() + (window * delta_y**2).sum()
            covariance = (window * delta_x * delta_y).sum()
            top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
            values.append(top / ((mean_x**2 + mean_y**2 + c1) * (variances + c2)))
    return math.fsum(values) / len(values)
