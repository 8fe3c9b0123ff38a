from __future__ import annotations

import numpy as np
import pytest
import torch
from support.filters import NUMPY_BORDERS

from fusion_core.filters.borders import Border, pad


@pytest.mark.parametrize("border", NUMPY_BORDERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 4), (20, 30)], ids=str)
def test_padding_is_that_of_numpy_also_beyond_the_size(
    border: Border, size: tuple[int, int]
) -> None:
    images = np.random.default_rng(0).normal(size=(2, 1, *size))
    expected = np.pad(images, ((0, 0), (0, 0), (7, 2), (0, 16)), mode=NUMPY_BORDERS[border])  # type: ignore[call-overload]
    found = pad(torch.from_numpy(images), (7, 2, 0, 16), border)
    np.testing.assert_array_equal(found, expected)


def test_integers_can_be_padded_in_every_way() -> None:
    for border in NUMPY_BORDERS:
        assert pad(torch.ones(2, 2, dtype=torch.int64), (1, 1, 1, 1), border).shape == (4, 4)
