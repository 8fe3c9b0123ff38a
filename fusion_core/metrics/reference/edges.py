"""Reference metrics on edges: Qabf, Nabf and EPI_a.

Qabf and Nabf hang on exact zeros and ties of float64 sums, so the order in which their Sobel
products are added is part of the definition.
"""

from __future__ import annotations

import numpy as np

from fusion_core.metrics.reference.arrays import (
    Gray,
    Integers,
    Reals,
    as_double,
    as_integers,
    pearson,
    weighted_sum,
    window_views,
)

SOBEL_X = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
SOBEL_Y = np.array([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])


def qabf(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Edge information kept from the sources, 0..0.9873 (Xydeas & Petrovic, 2000).

    Every pixel's preservation of gradient strength and orientation, weighted by the source's
    gradient: `sum(Q_AF gA + Q_BF gB) / sum(gA + gB)` on 0..1. Beyond the border is 0. NaN if
    no source has a gradient. Where both gradients are equal the relative strength is the
    gradient itself, not 1 as in the paper: the published tables hold it.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    (g_a, angle_a), (g_b, angle_b), (g_f, angle_f) = (
        _convolved_gradient(as_double(image)) for image in (ir, vis, fused)
    )
    total = np.sum(g_a + g_b)
    if total == 0:
        return float("nan")
    q_a = _edge_preservation(g_a, angle_a, g_f, angle_f)
    q_b = _edge_preservation(g_b, angle_b, g_f, angle_f)
    return float(np.sum(q_a * g_a + q_b * g_b) / total)


def nabf(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Artefacts that fusion added, 0..1, lower is better (Shreyamsha Kumar, 2013).

    Lost edge preservation `(1 - Q_AF) w_A + (1 - Q_BF) w_B`, summed where the fused gradient
    exceeds both sources', over `sum(w_A + w_B)`, on 0..1. The border is mirrored without the
    edge pixel; NaN if a dimension is 1, where no mirror image exists. A gradient on 0..1 never
    reaches the threshold 2 of the weights, so they are flat, as in the published tables.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    if min(fused.shape) < 2:
        return float("nan")
    (g_a, angle_a), (g_b, angle_b), (g_f, angle_f) = (
        _mirrored_gradient(as_double(image)) for image in (ir, vis, fused)
    )
    w_a, w_b = (np.where(g >= 2, g**1.5, 0.001) for g in (g_a, g_b))
    q_a = _artefact_preservation(g_a, angle_a, g_f, angle_f)
    q_b = _artefact_preservation(g_b, angle_b, g_f, angle_f)
    added = (g_f > g_a) & (g_f > g_b)
    lost = (1 - q_a) * w_a + (1 - q_b) * w_b
    return float(np.sum(lost[added]) / np.sum(w_a + w_b))


def epi_a(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Edge preservation index, -1..1 (Sattar, Floreby, Salomonsson & Lövström, 1997).

    Mean over both sources of the Pearson correlation between the Laplacian-filtered source and
    fused image, zero beyond the border; NaN if a filtered image does not vary.

    Args:
        ir: `(H, W)`, 0..255.
        vis: `(H, W)`, 0..255.
        fused: `(H, W)`, 0..255.
    """
    f = _laplacian(as_integers(fused))
    return (pearson(_laplacian(as_integers(ir)), f) + pearson(_laplacian(as_integers(vis)), f)) / 2


def _convolved_gradient(image: Reals) -> tuple[Reals, Reals]:
    """Return Qabf's gradient strength and angle: convolution, so SOBEL_X points to the left."""
    views = window_views(np.pad(image, 1), 3)[::-1]
    # The flipped kernels, read from the last column and row on, are the kernels from the first.
    sx, sy = (weighted_sum(kernel, views) for kernel in (SOBEL_X, -SOBEL_Y))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(sx == 0, np.pi / 2, np.arctan(sy / sx))
    return np.sqrt(sx**2 + sy**2), angle


def _edge_preservation(g_x: Reals, angle_x: Reals, g_f: Reals, angle_f: Reals) -> Reals:
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = np.where(g_x > g_f, g_f / g_x, np.where(g_x == g_f, g_f, g_x / g_f))
    alignment = 1 - np.abs(angle_x - angle_f) / (np.pi / 2)
    q_strength = 0.9994 / (1 + np.exp(-15 * (strength - 0.5)))
    q_alignment = 0.9879 / (1 + np.exp(-22 * (alignment - 0.8)))
    return q_strength * q_alignment


def _mirrored_gradient(image: Reals) -> tuple[Reals, Reals]:
    """Return Nabf's gradient strength and angle: correlation, column sums first."""
    views = window_views(np.pad(image, 1, mode="reflect"), 3)

    def correlate(kernel: Reals) -> Reals:
        left, middle, right = (
            weighted_sum(kernel[:, column], views[3 * column : 3 * column + 3])
            for column in range(3)
        )
        return left + middle + right

    gv, gh = correlate(SOBEL_X / 8), correlate(SOBEL_Y / 8)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where((gh == 0) & (gv == 0), 0.0, np.arctan(gv / gh))
    return np.sqrt(gh**2 + gv**2), angle


def _artefact_preservation(g_x: Reals, angle_x: Reals, g_f: Reals, angle_f: Reals) -> Reals:
    weaker, stronger = np.minimum(g_x, g_f), np.maximum(g_x, g_f)
    strength = np.divide(weaker, stronger, out=np.zeros_like(weaker), where=weaker > 0)
    alignment = np.abs(np.abs(angle_x - angle_f) - np.pi / 2) * 2 / np.pi
    q_strength = 0.9999 / (1 + np.exp(-19 * (strength - 0.5)))
    q_alignment = 0.9995 / (1 + np.exp(-22 * (alignment - 0.5)))
    return np.sqrt(q_strength * q_alignment)


def _laplacian(image: Integers) -> Integers:
    """Filter with 8 at the centre and -1 at the eight neighbours, that is 9 less the box sum."""
    height, width = image.shape
    padded = np.pad(image, 1)
    box = sum(padded[r : r + height, c : c + width] for r in range(3) for c in range(3))
    return 9 * image - box
