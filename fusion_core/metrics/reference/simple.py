"""Reference metrics that need no feature map: EN, MI, SCD and SSIM_a."""

from __future__ import annotations

import numpy as np

from fusion_core.metrics.reference.arrays import (
    Gray,
    Integers,
    Reals,
    as_double,
    as_integers,
    gaussian_taps,
    pearson,
    weighted_sum,
)


def en(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Entropy of the fused image in bits, 0..8 (Roberts, van Aardt & Ahmed, 2008).

    `-sum p log2 p` over the 256-bin histogram of F; the sources are not looked at.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return _entropy(np.bincount(fused.ravel()))


def mi(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Mutual information in bits, 0..16 (Qu, Zhang & Yan, 2002).

    `I(A;F) + I(B;F)`, each `H(X) + H(F) - H(X, F)` from the 256 x 256 joint histogram.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return _mutual_information(ir, fused) + _mutual_information(vis, fused)


def mi_as_published(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Twice the entropy of the fused image, 0..16: what the papers' tables call MI.

    Their tool passes matrices to a routine for vectors, whose joint entropies then cancel. It
    serves to compare with those tables only.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    return 2 * en(ir, vis, fused)


def scd(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Sum of the correlations of differences, -2..2 (Aslantas & Bendes, 2015).

    `corr(F - B, A) + corr(F - A, B)`, Pearson over all pixels; NaN if a source or a difference
    image is flat.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    a, b, f = as_integers(ir), as_integers(vis), as_integers(fused)
    return pearson(f - b, a) + pearson(f - a, b)


def ssim_a(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Mean of SSIM(F, A) and SSIM(F, B), -1..1 (Wang, Bovik, Sheikh & Simoncelli, 2004, Eq. 13).

    On 0..1 with an 11 x 11 Gaussian of sigma 1.5, K = (0.01, 0.03), L = 1. The border pixel is
    repeated and the whole map averaged, where the paper leaves out the border.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    f = as_double(fused)
    return (_ssim(f, as_double(ir)) + _ssim(f, as_double(vis))) / 2


def _entropy(counts: Integers) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(np.sum(p * np.log2(1 / p)))


def _mutual_information(source: Gray, fused: Gray) -> float:
    joint = np.bincount(256 * as_integers(source).ravel() + fused.ravel())
    marginals = _entropy(np.bincount(source.ravel())) + _entropy(np.bincount(fused.ravel()))
    return marginals - _entropy(joint)


def _ssim(x: Reals, y: Reals) -> float:
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x = _smooth(x * x) - mean_x**2
    variance_y = _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(luminance * structure))


def _smooth(image: Reals) -> Reals:
    height, width = image.shape
    taps = gaussian_taps()
    padded = np.pad(image, 5, mode="edge")
    rows = weighted_sum(taps, [padded[i : i + height] for i in range(11)])
    return weighted_sum(taps, [rows[:, i : i + width] for i in range(11)])
