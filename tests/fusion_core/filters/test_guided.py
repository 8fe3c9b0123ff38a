from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.compiled import dispatch
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (13, 8), (33, 41)])
def test_the_kernel_does_what_the_tensor_operations_do(
    size: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide, images = torch.rand(2, 2, 3, *size, dtype=dtype)
    tasks = [(guide, images, 1), (guide, images, 4), (guide, images, 50), (guide, guide, 5)]
    found = [guided_filter(*task, 1e-3) for task in tasks]
    monkeypatch.setattr(dispatch, "use_kernels", lambda maps: False)
    expected = [guided_filter(*task, 1e-3) for task in tasks]
    assert all(map(torch.equal, found, expected))


def test_gradients_pass_the_filter() -> None:
    images = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    guided_filter(images.detach(), images, 2, 0.1).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
