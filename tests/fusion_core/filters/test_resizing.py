from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import reference_fusion
from support.networks import deviation

from fusion_core.filters.resizing import bicubic, bilinear, imresize, nearest

ENLARGED = (
    ((1, 1), (1, 1)),
    ((1, 1), (9, 14)),
    ((1, 3), (5, 20)),
    ((4, 3), (61, 47)),
    ((2, 1), (33, 20)),
    ((31, 24), (61, 47)),
    ((5, 7), (5, 7)),
    ((5, 7), (5, 8)),
)
enlarged = pytest.mark.parametrize(("size", "larger"), ENLARGED, ids=str)

TOLERANCE = 1e-5
"""Over the largest value; the largest deviation of float32 measured is 1.2e-6."""


def maps(*shape: int) -> NDArray[np.float64]:
    values = np.random.default_rng(3).uniform(0, 9, shape)
    return values.astype(np.float32).astype(np.float64)


@enlarged
def test_bicubic_equals_the_reference(size: tuple[int, int], larger: tuple[int, int]) -> None:
    stack = maps(3, *size)
    expected = np.stack([reference_fusion.bicubic(each, larger) for each in stack])
    assert deviation(bicubic(torch.from_numpy(stack).float(), larger), expected) < TOLERANCE


@enlarged
def test_bilinear_equals_the_reference(size: tuple[int, int], larger: tuple[int, int]) -> None:
    stack = maps(2, *size)
    expected = np.stack([reference_fusion.bilinear(each, larger) for each in stack])
    found = bilinear(torch.from_numpy(stack).float().unsqueeze(1), larger)[:, 0]
    assert deviation(found, expected) < TOLERANCE


def test_bicubic_equals_imresize_worked_out_by_hand() -> None:
    # imresize([1 2 3 4], [1 8]). Centres lie at 0.75, 1.25 ... 4.25 of the old pixels, so that the
    # four taps are 0.25, 0.75, 1.25 and 1.75 away. With Keys' kernel of a = -0.5:
    # 1.5 / 64 - 2.5 / 16 + 1 = 111 / 128, 1.5 * 27 / 64 - 2.5 * 9 / 16 + 1 = 29 / 128,
    # -0.5 * 125 / 64 + 2.5 * 25 / 16 - 4 * 5 / 4 + 2 = -9 / 128 and
    # -0.5 * 343 / 64 + 2.5 * 49 / 16 - 4 * 7 / 4 + 2 = -3 / 128, in all 1.
    # The row goes on as ... 2 1 | 1 2 3 4 | 4 3 ...
    first = (-3 * 2 + 29 * 1 + 111 * 1 - 9 * 2) / 128
    second = (-9 * 1 + 111 * 1 + 29 * 2 - 3 * 3) / 128
    third = (-3 * 1 + 29 * 1 + 111 * 2 - 9 * 3) / 128
    expected = [first, second, third, 2.25, 2.75, 5 - third, 5 - second, 5 - first]
    found = bicubic(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), (1, 8))
    assert found.tolist() == [pytest.approx(expected, abs=1e-6)]


def test_bicubic_of_a_flat_map_is_flat() -> None:
    assert (bicubic(torch.full((3, 2), 7.0), (20, 31)) - 7.0).abs().max() < 1e-5


def test_bicubic_to_the_same_size_changes_nothing() -> None:
    same = torch.from_numpy(maps(2, 5, 7)).float()
    assert torch.equal(bicubic(same, (5, 7)), same)


def test_bilinear_mixes_between_centres_and_repeats_the_border() -> None:
    found = bilinear(torch.tensor([0.0, 4.0]).view(1, 1, 1, 2), (1, 4))
    assert found.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]


def test_nearest_repeats_pixels_and_cuts_what_is_beyond() -> None:
    found = nearest(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 2, (3, 3))
    assert found.tolist() == [[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 3.0, 4.0]]


def test_nearest_leaves_leading_dimensions_alone() -> None:
    stack = torch.from_numpy(maps(2, 3, 1, 4, 5)).float()
    found = nearest(stack, 4, (13, 20))
    assert torch.equal(found[1, 2, 0], nearest(stack[1, 2, 0], 4, (13, 20)))


@pytest.mark.parametrize("size", [(20, 30), (7, 40), (50, 9)], ids=str)
def test_images_shrink_and_grow_within_the_range_of_gray_levels(size: tuple[int, int]) -> None:
    image = torch.from_numpy(np.random.default_rng(4).integers(0, 256, (25, 17)).astype(float))
    found = imresize(image, size)
    assert found.shape == size
    assert torch.equal(found, found.round())
    assert found.min() >= 0
    assert found.max() <= 255


def test_a_shrunken_image_keeps_its_mean() -> None:
    image = torch.rand(64, 64, dtype=torch.float64)
    assert torch.isclose(bicubic(image, (16, 16)).mean(), image.mean(), rtol=0.02)
    checkered = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).double()
    assert (bicubic(checkered, (16, 16)) - 0.5).abs().max() < 0.02  # no aliasing
