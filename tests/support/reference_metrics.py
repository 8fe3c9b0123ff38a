"""The metrics once more, from their definitions: plain loops in float64, slow on purpose.

Each function takes `ir, vis, fused` (or `reconstruction, original`) as `(H, W)` uint8 and returns
one number, NaN where the definition gives none: zero by zero, or an image smaller than a window.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from support.reference_edges import nabf, qabf
from support.reference_feature_mi import fmi_dct, fmi_pixel, fmi_w
from support.reference_mef_ssim import ms_ssim

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
    return (ssim(fused, ir) + ssim(fused, vis)) / 2


def epi_a(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Mean over the sources of the correlation between Laplacian images, border padded with 0."""
    a, b, f = (_laplacian(image) for image in (ir, vis, fused))
    if any(len(set(values)) == 1 for values in (a, b, f)):
        return math.nan
    return (_pearson(a, f) + _pearson(b, f)) / 2


def ssim(reconstruction: Gray, original: Gray) -> float:
    """Mean of the SSIM map: Gaussian 11x11, sigma 1.5, border repeated, L = 1."""
    x, y = reconstruction / 255.0, original / 255.0
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


def psnr(reconstruction: Gray, original: Gray) -> float:
    """10·log10(1 / MSE) in decibel, NaN for identical images."""
    error = mse(reconstruction, original)
    return 10 * math.log10(1 / error) if error else math.nan


def mse(reconstruction: Gray, original: Gray) -> float:
    """Mean squared difference of value / 255."""
    x, y = (image.ravel().tolist() for image in (reconstruction, original))
    return math.fsum(((p - q) / 255) ** 2 for p, q in zip(x, y, strict=True)) / len(x)


REFERENCES: dict[str, Callable[[Gray, Gray, Gray], float]] = {
    "EN": entropy,
    "MI": mutual_information,
    "MI_as_published": mutual_information_as_published,
    "Qabf": qabf,
    "FMI_pixel": fmi_pixel,
    "FMI_dct": fmi_dct,
    "FMI_w": fmi_w,
    "Nabf": nabf,
    "SCD": scd,
    "SSIM_a": ssim_a,
    "MS_SSIM": ms_ssim,
    "EPI_a": epi_a,
}

RECONSTRUCTION_REFERENCES: dict[str, Callable[[Gray, Gray], float]] = {
    "SSIM": ssim,
    "PSNR": psnr,
    "MSE": mse,
}


def _information(source: Gray, fused: Gray) -> float:
    total = fused.size
    pairs = Counter(zip(source.ravel().tolist(), fused.ravel().tolist(), strict=True))
    first, second = Counter(source.ravel().tolist()), Counter(fused.ravel().tolist())
    return math.fsum(
        n / total * math.log2(n * total / (first[x] * second[y])) for (x, y), n in pairs.items()
    )


def _laplacian(image: Gray) -> list[float]:
    """Filter the integer levels, 255 times the double image: correlation is blind to scale."""
    padded = np.pad(image.astype(int), 1)
    return [
        float(9 * padded[row, column] - padded[row - 1 : row + 2, column - 1 : column + 2].sum())
        for row in range(1, image.shape[0] + 1)
        for column in range(1, image.shape[1] + 1)
    ]


def _pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    x, y = [value - mean_x for value in x], [value - mean_y for value in y]
    return _dot(x, y) / math.sqrt(_dot(x, x) * _dot(y, y))


def _dot(x: Iterable[float], y: Iterable[float]) -> float:
    return math.fsum(p * q for p, q in zip(x, y, strict=True))
