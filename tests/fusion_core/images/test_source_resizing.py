"""Sources of a pair that are brought to one size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion_core.choices import Resize
from fusion_core.errors import PairMismatchError
from fusion_core.images.resizing import to_one_size


def waves(height: int, width: int, cycles: float) -> NDArray[np.uint8]:
    """A wave over the width of the image, whatever its size."""
    x = (np.arange(width) + 0.5) / width
    row = 127.5 + 100 * np.sin(2 * np.pi * cycles * x)
    return np.tile(np.floor(row + 0.5), (height, 1)).astype(np.uint8)


SMALL, LARGE = waves(48, 64, 3), waves(96, 128, 3)
COLOUR = np.stack([LARGE, LARGE // 2, 255 - LARGE], axis=-1)


@pytest.mark.parametrize(
    ("ir", "vis", "rule", "size", "resized"),
    [
        (SMALL, COLOUR, "smaller", (48, 64), "visible 128x96"),
        (LARGE, SMALL, "smaller", (48, 64), "infrared 128x96"),
        (SMALL, COLOUR, "visible", (96, 128), "infrared 64x48"),
        (LARGE, SMALL, "visible", (48, 64), "infrared 128x96"),
    ],
)
def test_the_rule_chooses_the_size(
    ir: NDArray[np.uint8], vis: NDArray[np.uint8], rule: Resize, size: tuple[int, int], resized: str
) -> None:
    first, second, note = to_one_size(ir, vis, rule)
    assert (first.shape[:2], second.shape[:2], note) == (size, size, resized)
    assert (first.ndim, second.ndim) == (ir.ndim, vis.ndim)


@pytest.mark.parametrize("rule", ["off", "smaller", "visible"])
def test_sources_of_one_size_stay_as_they_are(rule: Resize) -> None:
    ir, vis, note = to_one_size(LARGE, COLOUR, rule)
    assert (ir is LARGE, vis is COLOUR, note) == (True, True, None)


def test_without_a_rule_sources_of_different_sizes_stay_as_they_are() -> None:
    ir, vis, note = to_one_size(SMALL, COLOUR, "off")
    assert (ir is SMALL, vis is COLOUR, note) == (True, True, None)


@pytest.mark.parametrize("rule", ["smaller", "visible"])
def test_a_resized_image_shows_the_same_points_at_the_same_places(rule: Resize) -> None:
    ir, vis, _ = to_one_size(SMALL, LARGE, rule)
    assert np.abs(ir.astype(int) - vis).max() <= 6


def test_a_reduced_image_has_no_aliasing() -> None:
    fine = waves(96, 128, 60)  # close to the limit of the large image, above that of the small one
    _, reduced, _ = to_one_size(SMALL, fine, "smaller")
    assert np.abs(reduced[:, 4:-4].astype(int) - 128).max() <= 12
    assert np.abs(fine[:, ::2].astype(int) - 128).max() > 50


@pytest.mark.parametrize("size", [(96, 130), (97, 128), (5, 7)])
def test_proportions_may_differ_by_rounding(size: tuple[int, int]) -> None:
    assert to_one_size(LARGE, waves(*size, 3), "smaller")[2] is not None


@pytest.mark.parametrize("size", [(96, 96), (512, 640)])
def test_images_of_other_proportions_are_refused_with_both_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(
        PairMismatchError, match=rf"infrared image is 128x96 .* {size[1]}x{size[0]}: .*distort"
    ):
        to_one_size(LARGE, waves(*size, 3), "visible")
