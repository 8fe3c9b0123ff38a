from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft

from fusion_core.filters.cosine import cosine_transform, inverse_cosine_transform


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1), (8, 8), (33, 20)], ids=str)
def test_transforms_are_those_of_scipy(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).normal(size=(3, *size))
    expected = fft.dctn(images, axes=(-2, -1), norm="ortho")
    found = cosine_transform(torch.from_numpy(images))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    back = inverse_cosine_transform(torch.from_numpy(expected))
    np.testing.assert_allclose(back, images, rtol=1e-12, atol=1e-12)
