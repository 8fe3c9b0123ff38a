from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from fusion_core.filters.borders import Border
from fusion_core.filters.gaussian import gaussian_blur

SCIPY: dict[Border, str] = {
    "zero": "constant", "replicate": "nearest", "symmetric": "reflect", "mirror": "mirror",
    "circular": "wrap",
}  # fmt: skip


@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("window", [(5, 0.8), (13, 2.0), (49, 8.0)], ids=str)
def test_smoothing_is_that_of_scipy(border: Border, window: tuple[int, float]) -> None:
    size, sigma = window
    image = np.random.default_rng(0).normal(size=(60, 51))
    expected = ndimage.gaussian_filter(image, sigma, mode=SCIPY[border], radius=size // 2)
    found = gaussian_blur(torch.from_numpy(image), size, sigma, border)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_images_of_a_batch_do_not_matter_to_each_other() -> None:
    images = torch.randn(3, 1, 20, 9)
    alone = torch.stack([gaussian_blur(image, 11, 2.0, "mirror") for image in images])
    assert torch.equal(gaussian_blur(images, 11, 2.0, "mirror"), alone)


def test_the_image_is_left_alone() -> None:
    image = torch.randn(5, 5)
    kept = image.clone()
    gaussian_blur(image, 1, 1.0, "zero")
    assert torch.equal(image, kept)
