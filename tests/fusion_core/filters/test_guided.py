from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.filters.guided import guided_filter

Image = NDArray[np.float64]


def windows(image: Image, radius: int) -> dict[tuple[int, int], Image]:
    height, width = image.shape
    return {
        (y, x): image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        for y, x in itertools.product(range(height), range(width))
    }


def by_regression(guide: Image, image: Image, radius: int, epsilon: float) -> Image:
    """Fit a line in each window, and average the lines of all windows at each pixel."""
    slopes, offsets = np.empty_like(image), np.empty_like(image)
    seen = windows(image, radius)
    for place, part in windows(guide, radius).items():
        covariance = np.mean((part - part.mean()) * (seen[place] - seen[place].mean()))
        slopes[place] = covariance / (part.var() + epsilon)
        offsets[place] = seen[place].mean() - slopes[place] * part.mean()
    result = np.empty_like(image)
    for place, part in windows(slopes, radius).items():
        result[place] = part.mean() * guide[place]
    for place, part in windows(offsets, radius).items():
        result[place] += part.mean()
    return result


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-6), (3, 0.01), (20, 0.3)])
def test_result_is_that_of_a_regression_in_each_window(radius: int, epsilon: float) -> None:
    guide, image = np.random.default_rng(1).uniform(size=(2, 14, 11))
    found = guided_filter(torch.from_numpy(guide), torch.from_numpy(image), radius, epsilon)
    np.testing.assert_allclose(found, by_regression(guide, image, radius, epsilon), rtol=1e-9)


def test_an_image_can_be_its_own_guide() -> None:
    image = torch.rand(9, 7, dtype=torch.float64)
    expected = guided_filter(image, image.clone(), 2, 0.1)
    assert torch.allclose(guided_filter(image, image, 2, 0.1), expected, rtol=1e-12)
