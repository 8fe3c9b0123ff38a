from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.filters import NUMPY_BORDERS

from fusion_core.filters.borders import Border
from fusion_core.filters.box import box_mean

SIZES = ((13, 9), (5, 7), (1, 5), (6, 1), (1, 1))
RADII = (0, 1, 2, 3, 7, 9, 64)

borders = pytest.mark.parametrize("border", NUMPY_BORDERS)


def draw(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).exponential(100.0, shape)


def loop(image: NDArray[np.float64], radius: int, border: Border) -> NDArray[np.float64]:
    """Average `(H, W)` window by window."""
    padded = np.pad(image, radius, mode=NUMPY_BORDERS[border])  # type: ignore[call-overload]
    size = 2 * radius + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    means: NDArray[np.float64] = windows.mean(axis=(-2, -1))
    return means


@borders
def test_box_mean_equals_the_mean_of_each_window(border: Border) -> None:
    for radius, size in itertools.product(RADII, SIZES):
        image = draw(*size)
        found = box_mean(torch.from_numpy(image), radius, border=border).numpy()
        assert np.allclose(found, loop(image, radius, border), rtol=1e-14, atol=0), (radius, size)


@borders
def test_float32_keeps_small_values_next_to_large_ones(border: Border) -> None:
    image = draw(40, 300)
    image[:, :140] *= 1e8
    image[:, 160:] *= 1e-8
    image = image.astype(np.float32).astype(np.float64)
    for radius in (1, 5, 64):
        found = box_mean(torch.from_numpy(image).float(), radius, border=border).numpy()
        assert np.allclose(found, loop(image, radius, border), rtol=2e-6, atol=0), radius


@borders
def test_the_mean_does_not_depend_on_the_batch_or_the_tile(border: Border) -> None:
    maps = torch.from_numpy(draw(2, 3, 50, 60)).float()
    together = box_mean(maps, 5, border=border)
    assert torch.equal(together[1, 2], box_mean(maps[1, 2], 5, border=border))
    tile = box_mean(maps[..., 10:40, 20:50], 5, border=border)
    assert torch.equal(together[..., 15:35, 25:45], tile[..., 5:-5, 5:-5])


def test_the_number_of_additions_grows_with_the_logarithm_of_the_radius(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    additions = []
    add = torch.Tensor.__add__

    def count(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        additions.append(1)
        return add(first, second)

    monkeypatch.setattr(torch.Tensor, "__add__", count)
    box_mean(torch.ones(3, 3), 64, border="zero")
    assert 0 < len(additions) <= 2 * 2 * 8
