from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from fusion_core.methods.cbf import _significance, cross_bilateral_filters

Image = NDArray[np.float64]
SPACE, RANGE = 1.8, 25.0


def loop(image: Image, other: Image, radius: int) -> Image:
    """Filter pixel by pixel."""
    result = np.empty_like(image)
    padded, guide = (np.pad(x, radius, mode="reflect") for x in (image, other))
    steps = range(-radius, radius + 1)
    for y, x in itertools.product(*map(range, image.shape)):
        total = weighted = 0.0
        for dy, dx in itertools.product(steps, steps):
            place = y + radius + dy, x + radius + dx
            near = (dy**2 + dx**2) / (2 * SPACE**2)
            alike = (guide[place] - other[y, x]) ** 2 / (2 * RANGE**2)
            weight = math.exp(-near - alike)
            total, weighted = total + weight, weighted + weight * padded[place]
        result[y, x] = weighted / total
    return result


def test_each_filter_keeps_the_edges_of_the_other_image() -> None:
    first, second = np.random.default_rng(2).uniform(0, 255, (2, 9, 11))
    found = cross_bilateral_filters(
        *(torch.from_numpy(image)[None, None] for image in (first, second)),
        radius=3, sigma_space=SPACE, sigma_range=RANGE,
    )  # fmt: skip
    np.testing.assert_allclose(found[0][0, 0], loop(first, second, 3), rtol=1e-5)
    np.testing.assert_allclose(found[1][0, 0], loop(second, first, 3), rtol=1e-5)


def test_significance_is_the_sum_of_the_eigenvalues_of_both_covariances() -> None:
    detail = np.random.default_rng(3).normal(size=(8, 9))
    found = _significance(torch.from_numpy(detail)[None, None])[0, 0]
    padded = np.pad(detail, 2, mode="reflect")
    for y, x in itertools.product(*map(range, detail.shape)):
        window = padded[y : y + 5, x : x + 5]
        eigenvalues = [np.linalg.eigvalsh(np.cov(window, rowvar=rows)) for rows in (True, False)]
        assert np.isclose(found[y, x], np.sum(eigenvalues), rtol=1e-12)
