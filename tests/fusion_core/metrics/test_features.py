"""The feature maps, by both code paths, against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import reference_feature_mi as reference

from fusion_core.compiled import dispatch
from fusion_core.metrics.feature_mi.features import (
    cosine_transform,
    edge_map,
    meyer_filters,
    meyer_transform,
)

Maps = NDArray[np.float64]
Size = tuple[int, int]

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (13, 17), (16, 16), (31, 64), (101, 103)]
"""Of one pixel, tiny, odd, prime, even, longer than the wavelet's filter."""


@pytest.fixture(params=["kernels", "tensors"], autouse=True)
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with the compiled kernels, and with what runs on other devices."""
    if request.param == "tensors":
        monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)


def levels(size: Size, count: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(size).integers(0, 256, (count, *size), dtype=np.uint8)


def doubles(size: Size, count: int = 2) -> Maps:
    return levels(size, count) / 255.0


def cosines(image: Maps) -> Maps:
    return cosine_transform(torch.from_numpy(image)).numpy()


def wavelets(image: Maps) -> Maps:
    return meyer_transform(torch.from_numpy(image)).numpy()


def edges(image: Maps) -> NDArray[np.uint8]:
    return edge_map(torch.from_numpy(image)).numpy()


def test_cosine_transform_equals_products_with_cosines() -> None:
    for size in SIZES:
        images = doubles(size)
        expected = [reference.cosine_map(image) for image in images]
        np.testing.assert_allclose(cosines(images), expected, rtol=0, atol=1e-13)


def test_cosine_transform_keeps_the_energy() -> None:
    for size in SIZES:
        images = doubles(size)
        energies = (cosines(images) ** 2).sum(axis=(1, 2))
        np.testing.assert_allclose(energies, (images**2).sum(axis=(1, 2)), rtol=1e-14)


def test_cosine_transform_of_one_pixel_is_the_pixel() -> None:
    np.testing.assert_allclose(cosines(doubles((1, 1))), doubles((1, 1)), rtol=1e-15)


def test_cosine_transform_of_a_flat_image_is_one_coefficient() -> None:
    for size in SIZES:
        expected = np.zeros((1, *size))
        expected[0, 0, 0] = 0.75 * math.sqrt(size[0] * size[1])
        np.testing.assert_allclose(cosines(np.full((1, *size), 0.75)), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("transform", [cosines, wavelets, edges])
def test_transform_leaves_its_input_alone(transform: Callable[[Maps], Maps]) -> None:
    images = doubles((13, 17))
    transform(images)
    np.testing.assert_array_equal(images, doubles((13, 17)))


def test_wavelet_coefficients_equal_the_loops_of_their_definition() -> None:
    for size in SIZES:
        images = doubles(size)
        expected = [reference.meyer_map(image) for image in images]
        found = wavelets(images)
        low, high = (end(found, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
        np.testing.assert_allclose((found - low) / (high - low), expected, rtol=0, atol=1e-12)


def test_each_side_of_the_wavelet_coefficients_is_half_of_a_full_convolution() -> None:
    for size in SIZES:
        assert wavelets(doubles(size)).shape == (2, *(2 * ((side + 101) // 2) for side in size))


def test_wavelet_of_a_flat_image_is_twice_its_level_in_one_quarter() -> None:
    for size in SIZES:
        found = wavelets(np.full((1, *size), 0.75))
        expected = np.zeros_like(found)
        expected[0, : found.shape[1] // 2, : found.shape[2] // 2] = 1.5
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_wavelet_details_of_alternating_rows_lie_right_of_their_means() -> None:
    found = wavelets(np.tile([[0.0], [1.0]], (40, 60))[np.newaxis])[0]
    height, width = (side // 2 for side in found.shape)
    right, below = found[:height, width:], found[height:, :width]
    assert (np.abs(right).max() > 0.9, np.abs(below).max() < 1e-3) == (True, True)


def test_wavelet_of_the_transposed_image_is_the_transposed_wavelet() -> None:
    for size in SIZES:
        turned = np.ascontiguousarray(doubles(size).transpose(0, 2, 1))
        expected = wavelets(doubles(size)).transpose(0, 2, 1)
        np.testing.assert_allclose(wavelets(turned), expected, rtol=0, atol=1e-14)


def test_edge_map_equals_the_loops_of_its_definition() -> None:
    for size in SIZES:
        expected = [reference.edge_map(image) for image in levels(size)]
        np.testing.assert_array_equal(edges(doubles(size)), expected)


def test_edge_map_finds_edges_and_little_else() -> None:
    found = edges(doubles((101, 103)))
    assert 0.01 < found.mean() < 0.1


def test_edge_map_of_a_flat_image_is_empty() -> None:
    assert not edges(np.full((1, 9, 11), 0.3)).any()


def test_edge_map_thins_a_step_to_one_line() -> None:
    image = np.zeros((1, 20, 40))
    image[:, :, 20:] = 1.0
    expected = np.zeros((1, 20, 40))
    expected[:, :, 20] = 1
    np.testing.assert_array_equal(edges(image), expected)


def test_edge_map_holds_bytes_of_the_images_shape() -> None:
    for size in SIZES:
        found = edges(doubles(size))
        assert (found.dtype, found.shape) == (np.uint8, (2, *size))


def test_meyer_filters_have_102_taps() -> None:
    assert [taps.shape for taps in meyer_filters()] == [(102,), (102,)]


def test_meyer_low_pass_sums_to_the_square_root_of_two() -> None:
    assert meyer_filters()[0].sum() == pytest.approx(math.sqrt(2.0), rel=1e-15)


def test_meyer_high_pass_sums_to_zero_but_for_what_the_cut_takes() -> None:
    assert abs(meyer_filters()[1].sum()) < 1e-3


def test_meyer_reconstruction_low_pass_is_even_in_its_first_101_taps() -> None:
    reconstruction = meyer_filters()[0][::-1]
    np.testing.assert_allclose(reconstruction[:101], reconstruction[:101][::-1], rtol=0, atol=1e-16)
    assert reconstruction[101] == 0.0


def test_meyer_high_pass_is_the_quadrature_mirror_of_the_low_pass() -> None:
    low, high = meyer_filters()
    signs = np.where(np.arange(102) % 2 == 0, -1.0, 1.0)
    np.testing.assert_array_equal(high, low[::-1] * signs)


def test_meyer_low_pass_is_orthonormal_to_its_even_shifts_but_for_what_the_cut_takes() -> None:
    low = meyer_filters()[0]
    products = [low[: 102 - shift] @ low[shift:] for shift in range(0, 102, 2)]
    np.testing.assert_allclose(products, [1.0] + [0.0] * 50, rtol=0, atol=2e-3)


def test_meyer_low_pass_equals_that_of_the_independent_integral() -> None:
    np.testing.assert_allclose(
        meyer_filters()[0][::-1], reference.meyer_low_pass(), rtol=0, atol=1e-15
    )
