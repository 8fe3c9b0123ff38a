"""Reference MS_SSIM of the papers' tables, which is MEF-SSIM on three scales."""

from __future__ import annotations

import numpy as np

from fusion_core.metrics.reference.arrays import Gray, Reals, gaussian_taps, window_chunks

EPS = 2.2204e-16
CANCELLED = 1e-6
"""A reference block smaller than this share of its terms is rounding noise, and counts as 0."""
SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001]) / (0.0448 + 0.2856 + 0.3001)


def ms_ssim(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Structural quality against the sources' best blocks, 0..1 (Ma, Zeng & Wang, 2015).

    On 0..255, 11 x 11 windows inside the image, three scales, combined as a weighted product.
    NaN if the third scale is smaller than 11 x 11, or if the mean quality of a scale is below
    0, which has no real power. The published tables call it MS_SSIM, yet it is not
    the multi-scale SSIM of Wang, Simoncelli & Bovik.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    images = [image.astype(np.float64) for image in (ir, vis, fused)]
    qualities = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale > 0:
            images = [_halve(image) for image in images]
        if min(images[0].shape) < 11:
            return float("nan")
        qualities.append(
            np.concatenate(
                [
                    _window_quality(_reference_windows(np.stack([a, b])), f)
                    for a, b, f in window_chunks(images, 11)
                ]
            ).mean()
        )
    if min(qualities) < 0:
        return float("nan")
    return float(np.prod(np.array(qualities) ** SCALE_WEIGHTS))


def _halve(image: Reals) -> Reals:
    """Average every other pixel of `(H, W)` with its right and lower neighbours."""
    padded = np.pad(image, ((0, 1), (0, 1)), mode="symmetric")
    means = (padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]) / 4
    return means[::2, ::2]


def _reference_windows(sources: Reals) -> Reals:
    """Fuse source windows `(2, 121, n)` into the zero-mean windows `(121, n)` to be matched."""
    mean = sources.mean(axis=1)
    detail = sources - mean[:, np.newaxis]
    energy = np.linalg.norm(detail, axis=1) + 0.001  # (2, n); squared, 121 times the variance
    total = sources.sum(axis=0)
    together = np.linalg.norm(total - total.mean(axis=0), axis=0)
    apart = np.linalg.norm(detail, axis=1).sum(axis=0)
    consistency = np.clip((together + EPS) / (apart + EPS), EPS, 1 - EPS)
    weight = (energy / 11) ** np.minimum(np.tan(np.pi / 2 * consistency), 10) + EPS
    weight /= weight.sum(axis=0)
    structure: Reals = np.sum((weight / energy)[:, np.newaxis] * detail, axis=0)
    norm = np.linalg.norm(structure, axis=0)
    terms = (weight / energy * np.linalg.norm(detail, axis=1)).sum(axis=0)
    present = norm > CANCELLED * terms
    gain = np.divide(energy.max(axis=0), norm, out=np.zeros_like(norm), where=present)
    structure *= gain
    return structure


def _window_quality(reference: Reals, fused: Reals) -> Reals:
    """Compare `(121, n)` windows under the Gaussian window: contrast and structure, `(n,)`."""
    c = (0.03 * 255) ** 2
    gaussian = np.outer(gaussian_taps(), gaussian_taps()).ravel()
    dr, df = reference - gaussian @ reference, fused - gaussian @ fused
    covariance = gaussian @ (dr * df)
    return (2 * covariance + c) / (gaussian @ dr**2 + gaussian @ df**2 + c)
