from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.choices import OutputRange, SixteenBit
from fusion_core.errors import InvalidValueError
from fusion_core.images.bit_depth import _percentile, to_eight_bit
from fusion_core.images.output_range import apply_output_range


def percentile(values: list[int], percent: float) -> float:
    """Percentile by linear interpolation between the sorted values."""
    ordered = sorted(values)
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def deep_noise(
    *shape: int, seed: int = 0, low: int = 20_000, high: int = 24_000
) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint16)


@pytest.mark.parametrize("rule", ["percentile", "full"])
def test_eight_bit_image_passes_unchanged(rule: SixteenBit) -> None:
    image = np.random.default_rng(1).integers(3, 90, (6, 7), dtype=np.uint8)
    assert np.array_equal(to_eight_bit(image, rule), image)


def test_full_rule_maps_every_level_to_the_nearest() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    exact = (levels.astype(np.int64) * 2 * 255 + 65535) // (2 * 65535)
    assert np.array_equal(to_eight_bit(levels, "full"), exact)


def test_percentile_rule_equals_a_loop_over_sorted_values() -> None:
    image = deep_noise(13, 17)
    low, high = (percentile(image.ravel().tolist(), percent) for percent in (1, 99))
    exact = [
        math.floor(min(max((value - low) / (high - low) * 255, 0), 255) + 0.5)
        for value in image.ravel().tolist()
    ]
    assert to_eight_bit(image, "percentile").ravel().tolist() == exact


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101, 151, 9_999])
@pytest.mark.parametrize("low", [0, 300, 65_000])
def test_percentiles_of_levels_equal_those_of_numpy_to_the_last_bit(count: int, low: int) -> None:
    for seed in range(20):
        image = deep_noise(count, seed=seed, low=low, high=low + 1 + seed**2)
        counts = np.bincount(image)
        for percent in (1.0, 99.0):
            assert _percentile(counts, percent) == np.percentile(image, percent)


def test_percentile_rule_is_the_default() -> None:
    image = deep_noise(13, 17)
    assert np.array_equal(to_eight_bit(image), to_eight_bit(image, "percentile"))


def test_percentile_rule_is_not_moved_by_hot_and_dead_pixels() -> None:
    image = deep_noise(40, 40)
    broken = image.copy()
    broken[0, 0], broken[0, 1] = 65535, 0
    change = to_eight_bit(broken).astype(int) - to_eight_bit(image)
    assert np.abs(change[1:]).max() <= 2


def test_percentile_rule_keeps_the_order_of_levels() -> None:
    image = np.sort(deep_noise(900)).reshape(30, 30)
    assert (np.diff(to_eight_bit(image).ravel().astype(int)) >= 0).all()


def test_percentile_rule_is_one_for_all_channels_so_that_colours_stay() -> None:
    gray = deep_noise(11, 12)
    colour = np.stack([gray, gray, gray], axis=-1)
    colour[..., 2] //= 2
    brought = to_eight_bit(colour)
    assert np.array_equal(brought[..., 0], brought[..., 1])
    assert brought[..., 2].mean() < 0.5 * brought[..., 0].mean()


def test_deep_image_with_few_bright_pixels_uses_its_whole_range() -> None:
    image = np.full((50, 50), 1000, dtype=np.uint16)
    image[7, 7] = 9000
    assert np.unique(to_eight_bit(image)).tolist() == [0, 255]


@pytest.mark.parametrize("rule", ["percentile", "full"])
def test_flat_deep_image_keeps_its_share_of_the_full_range(rule: SixteenBit) -> None:
    for level, gray in ((0, 0), (128, 0), (129, 1), (25700, 100), (65535, 255)):
        image = np.full((4, 5), level, dtype=np.uint16)
        assert np.unique(to_eight_bit(image, rule)).tolist() == [gray]


def test_single_deep_pixel_is_brought_to_eight_bits() -> None:
    assert to_eight_bit(np.array([[25700]], dtype=np.uint16)).tolist() == [[100]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_values_are_scaled_like_levels_of_16_bits(dtype: type) -> None:
    image = deep_noise(13, 17)
    values = (image.astype(np.float64) / 256 - 100).astype(dtype)  # exact in 16 bits of a float
    assert np.abs(to_eight_bit(values).astype(int) - to_eight_bit(image)).max() <= 1


def test_full_rule_maps_minimum_and_maximum_of_floating_point_values() -> None:
    image = np.float32([[-3.0, -2.0, 1.0]])
    assert to_eight_bit(image, "full").tolist() == [[0, 64, 255]]


@pytest.mark.parametrize("rule", ["percentile", "full"])
def test_flat_floating_point_image_is_black(rule: SixteenBit) -> None:
    for value in (0.0, -7.5, 1e300):
        assert to_eight_bit(np.full((3, 4), value), rule).tolist() == [[0] * 4] * 3


def test_extreme_floating_point_values_do_not_overflow() -> None:
    image = np.array([[-1.7e308, 0.0, 1.7e308]])
    assert to_eight_bit(image, "full").tolist() == [[0, 128, 255]]
    outlier = np.full((40, 40), 1e-320)
    outlier[0, 0], outlier[1:20] = 1e300, 0.0
    assert np.unique(to_eight_bit(outlier)).tolist() in ([0, 255], [0])


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.bool_])
def test_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(InvalidValueError, match="floating-point values, but got"):
        to_eight_bit(np.zeros((2, 2), dtype=dtype))


def test_clip_cuts_at_black_and_white_and_rounds_nothing() -> None:
    image = torch.tensor([-5.0, 0.25, 254.75, 300.0]).reshape(1, 1, 1, 4)
    assert apply_output_range(image, "clip").flatten().tolist() == [0.0, 0.25, 254.75, 255.0]


def test_minmax_stretches_each_image_by_its_own_range() -> None:
    images = torch.tensor([[-10.0, 0.0, 10.0], [400.0, 300.0, 500.0]]).reshape(2, 1, 1, 3)
    stretched = apply_output_range(images, "minmax").reshape(2, 3).numpy()
    assert np.allclose(stretched, [[0, 127.5, 255], [127.5, 0, 255]], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "expected"), [(-3.0, 0.0), (7.5, 7.5), (300.0, 255.0), (0.0, 0.0)]
)
def test_minmax_clips_a_flat_image(value: float, expected: float) -> None:
    flat = torch.full((1, 1, 3, 3), value)
    assert torch.equal(apply_output_range(flat, "minmax"), torch.full((1, 1, 3, 3), expected))


def test_minmax_does_not_stretch_rounding_noise() -> None:
    noisy = torch.tensor([150.0, 150.0 + 2e-5, 150.0 - 2e-5, 150.0]).reshape(1, 1, 2, 2)
    assert torch.allclose(apply_output_range(noisy, "minmax"), noisy, rtol=0, atol=1e-3)


def test_minmax_stretches_a_span_of_a_single_gray_level() -> None:
    faint = torch.tensor([100.0, 100.5, 101.0]).reshape(1, 1, 1, 3)
    stretched = apply_output_range(faint, "minmax").flatten().tolist()
    assert stretched == pytest.approx([0.0, 127.5, 255.0], abs=1e-2)


@pytest.mark.parametrize("output_range", ["clip", "minmax"])
def test_output_range_leaves_its_input_alone(output_range: OutputRange) -> None:
    image = torch.tensor([-5.0, 300.0]).reshape(1, 1, 1, 2)
    apply_output_range(image, output_range)
    assert image.flatten().tolist() == [-5.0, 300.0]
