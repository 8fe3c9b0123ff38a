"""Reference feature mutual information: FMI_pixel, FMI_dct and FMI_w."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusion_core.metrics.reference.arrays import (
    Gray,
    Reals,
    as_double,
    weighted_sum,
    window_chunks,
    window_views,
)
from fusion_core.metrics.reference.edges import SOBEL_X

NOISE = 2.0**-46
"""Differences within a window up to this count as none; the maps' range is 1.

Coefficients that are equal in exact arithmetic, such as those of flat areas, differ in float64 by
rounding, and windows of nothing but rounding score anything.
"""
CUTOFF = 4 * (1 + 2.0**-40)
"""Edges exceed this many means: 4, by more than rounding."""


def fmi_pixel(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of the binary Sobel edge maps, 0..1 (Haghighat & Razian, 2014).

    Mean over all 3 x 3 windows and both sources of `2 I(X;F) / (H(X) + H(F))`, each window's
    feature values read as a density; NaN below 3 x 3 pixels. Edges are the papers' default
    feature, where the name says pixel.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return _fmi(_edge_map, ir, vis, fused)


def fmi_dct(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of the orthonormal DCT-II of the whole images, 0..1 (Haghighat & Razian, 2014).

    As `fmi_pixel`, with another feature.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return _fmi(_dct_map, ir, vis, fused)


def fmi_w(ir: Gray, vis: Gray, fused: Gray) -> float:
    """FMI of one level of the discrete Meyer transform, 0..1 (Haghighat & Razian, 2014).

    As `fmi_pixel`, with another feature: `[cA cH; cV cD]`, scaled to 0..1 as a whole.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return _fmi(_wavelet_map, ir, vis, fused)


def _fmi(feature_map: Callable[[Reals], Reals], ir: Gray, vis: Gray, fused: Gray) -> float:
    if min(fused.shape) < 3:
        return float("nan")
    maps = [feature_map(as_double(image)) for image in (ir, vis, fused)]
    values = [
        (_window_similarity(a, f) + _window_similarity(b, f)) / 2
        for a, b, f in window_chunks(maps, 3)
    ]
    return float(np.concatenate(values).mean())


def _edge_map(image: Reals) -> Reals:
    """Mark the thinned Sobel edges of `(H, W)` with 1 (MATLAB's `edge`, automatic threshold)."""
    # Ties decide the thinning, so the order of the sums counts: negative taps before positive.
    bx, by = _horizontal_gradient(image), _horizontal_gradient(image.T).T
    b = bx**2 + by**2
    _, left, _, up, _, down, _, right, _ = window_views(np.pad(b, 1), 3)
    slack = 100 * np.finfo(np.float64).eps
    across = (np.abs(bx) >= np.abs(by) - slack) & (left <= b) & (b > right)
    along = (np.abs(by) >= np.abs(bx) - slack) & (up <= b) & (b > down)
    edges: Reals = ((b > CUTOFF * b.mean()) & (across | along)).astype(np.float64)
    return edges


def _horizontal_gradient(image: Reals) -> Reals:
    """Filter `(H, W)` with Sobel / 8, the border pixel repeated, column after column."""
    return weighted_sum(SOBEL_X / 8, window_views(np.pad(image, 1, mode="edge"), 3))


def _dct_map(image: Reals) -> Reals:
    """Return the 2-D orthonormal DCT-II of `(H, W)`, a white image's first one being 1."""
    height, width = image.shape
    coefficients = _cosines(height) @ image @ _cosines(width).T
    scaled: Reals = coefficients / np.sqrt(height * width)
    return scaled


def _cosines(length: int) -> Reals:
    """Return the `(length, length)` matrix of the DCT-II, a frequency a row."""
    k, n = np.ogrid[:length, :length]
    phase = k * (2 * n + 1) % (4 * length)  # whole turns taken off exactly, cosines stay accurate
    basis: Reals = np.cos(np.pi * phase / (2 * length)) * np.sqrt(2 / length)
    basis[0] = np.sqrt(1 / length)
    return basis


def _wavelet_map(image: Reals) -> Reals:
    """Return `[cA cH; cV cD]` of `(H, W)`, scaled to 0..1, or ones if flat."""
    low = _meyer_filter()[::-1]
    # Reconstruction high-pass: the low-pass reversed, every second sign changed; then reversed.
    high = (low * np.resize([1.0, -1.0], low.size))[::-1]
    smooth, vertical = (_filter_columns(image.T, taps).T for taps in (low, high))
    upper = [_filter_columns(smooth, taps) for taps in (low, high)]
    lower = [_filter_columns(vertical, taps) for taps in (low, high)]
    return _unit_range(np.block([upper, lower]))


def _filter_columns(image: Reals, taps: Reals) -> Reals:
    """Convolve each column, half-point symmetric beyond its ends, and keep every other value."""
    reach = taps.size - 1
    padded = np.pad(image, ((reach, reach), (0, 0)), mode="symmetric")
    length = image.shape[0] + reach - 1
    first = reach + 1 - np.arange(taps.size)
    return weighted_sum(taps, [padded[i : i + length : 2] for i in first])


def _meyer_filter() -> Reals:
    """Return the `(102,)` reconstruction low-pass, an even filter and one 0, of sum sqrt(2).

    Its taps are the Fourier coefficients of m0, by Gauss-Legendre quadrature on each of the two
    pieces where m0 is smooth and not 0.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)
    n = np.arange(-50, 51)[:, np.newaxis]
    width = np.pi / 3
    flat = width * (nodes + 1) / 2
    slope = flat + width
    t = 3 * slope / np.pi - 1
    m0 = np.cos(np.pi / 2 * t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3))
    integral = (np.cos(n * flat) + m0 * np.cos(n * slope)) @ weights * width / 2
    taps: Reals = np.append(integral, 0.0) * (np.sqrt(2) / integral.sum())
    return taps


def _unit_range(values: Reals) -> Reals:
    """Scale a map to 0..1 by its own extremes; ones if flat."""
    low, high = values.min(), values.max()
    return np.ones_like(values) if low == high else (values - low) / (high - low)


def _window_similarity(x: Reals, f: Reals) -> Reals:
    """Return `2 I(X;F) / (H(X) + H(F))` of `(9, n)` windows as `(n,)`; 1 where identical."""
    p_x, p_f = _density(x), _density(f)
    entropies = _entropy(p_x) + _entropy(p_f)
    information = entropies - _entropy(_joint_density(p_x, p_f).reshape(81, -1))
    value = np.divide(
        2 * information, entropies, out=np.zeros_like(entropies), where=information != 0
    )
    return np.where((np.abs(x - f) <= NOISE).all(axis=0), 1.0, value)


def _density(windows: Reals) -> Reals:
    """Scale each of `(9, n)` windows to 0..1, ones if flat, and then to sum 1."""
    low, high = windows.min(axis=0), windows.max(axis=0)
    above = np.where(windows - low > NOISE, windows - low, 0.0)
    scaled = np.ones_like(windows)
    np.divide(above, high - low, out=scaled, where=high - low > NOISE)
    scaled /= scaled.sum(axis=0)
    return scaled


def _joint_density(p_x: Reals, p_f: Reals) -> Reals:
    """Return `(9, 9, n)`: between independence and the Fréchet bound, correlated as observed."""
    c = _correlation(p_x, p_f)
    cdf_x, cdf_f = np.cumsum(p_x, axis=0), np.cumsum(p_f, axis=0)
    bound = np.where(
        c >= 0,
        np.minimum(cdf_f[:, np.newaxis], cdf_x),
        np.maximum(cdf_f[:, np.newaxis] + cdf_x - 1, 0),
    )
    covariance = np.sum(bound - cdf_f[:, np.newaxis] * cdf_x, axis=(0, 1))
    spread = _deviation(p_f) * _deviation(p_x)
    # Rounding can leave the bound of an all but one-celled density without a covariance.
    usable = (c != 0) & (spread != 0) & (covariance != 0)
    phi = np.divide(c * spread, covariance, out=np.zeros_like(c), where=usable)
    density = np.diff(np.diff(bound, axis=0, prepend=0), axis=1, prepend=0)
    joint: Reals = phi * density + (1 - phi) * p_f[:, np.newaxis] * p_x
    return joint


def _correlation(p_x: Reals, p_f: Reals) -> Reals:
    """Return the Pearson correlation of `(9, n)` densities, 0 where the covariance is 0."""
    dx, df = p_x - p_x.mean(axis=0), p_f - p_f.mean(axis=0)
    varies = (np.ptp(p_x, axis=0) > 0) & (np.ptp(p_f, axis=0) > 0)
    scale = np.sqrt(np.sum(dx**2, axis=0) * np.sum(df**2, axis=0))
    correlation = np.zeros(scale.shape)
    np.divide(np.sum(dx * df, axis=0), scale, out=correlation, where=varies)
    return correlation


def _deviation(p: Reals) -> Reals:
    """Return the standard deviation of the cell number 1..9 under each of `(9, n)` densities."""
    i = np.arange(1.0, 10.0)
    variance: Reals = i**2 @ p - (i @ p) ** 2
    return np.sqrt(np.maximum(variance, 0))


def _entropy(p: Reals) -> Reals:
    """Return the entropy in bits over the first axis; a cell just below 0 counts by log2|p|."""
    logarithm = np.log2(np.abs(p), out=np.zeros_like(p), where=p != 0)
    bits: Reals = -np.sum(p * logarithm, axis=0)
    return bits
