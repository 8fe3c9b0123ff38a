from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_core.errors import InvalidValueError
from fusion_core.methods.adf import adf
from fusion_core.methods.karhunen_loeve import principal_weights


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
def test_weights_are_the_principal_eigenvector(scale: float) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 20, 30))
    second = scale * second + 0.3 * first
    _, vectors = np.linalg.eigh(np.cov(first.ravel(), second.ravel()))
    expected = vectors[:, -1] / vectors[:, -1].sum()
    pair = (torch.from_numpy(image)[None, None] for image in (first, second))
    found = [weight.item() for weight in principal_weights(*pair)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_flat_images_have_equal_weights() -> None:
    flat = torch.full((1, 1, 3, 3), 5.0)
    assert [weight.item() for weight in principal_weights(flat, flat)] == [0.5, 0.5]


def test_other_numbers_of_sources_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="adf fuses 2 sources, but got 3"):
        adf(torch.zeros(3, 1, 1, 4, 4))
