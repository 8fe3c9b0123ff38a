from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.reference_metrics import RECONSTRUCTION_REFERENCES

from fusion_core.compiled import dispatch
from fusion_core.errors import InvalidValueError
from fusion_core.metrics.structural.reconstruction import RECONSTRUCTION_METRICS

Gray = NDArray[np.uint8]

SIZES = [(1, 1), (1, 9), (5, 5), (17, 13)]
TOLERANCE = 1e-12
"""SSIM divides the cancellation in variances of flat windows by 9e-4."""


def noise(seed: int, *size: int) -> Gray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def nearly(image: Gray) -> Gray:
    """Return a reconstruction that is off by up to 3 levels."""
    error = np.random.default_rng(9).integers(-3, 4, image.shape)
    return np.clip(image + error, 0, 255).astype(np.uint8)


def batch(*images: Gray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


@pytest.fixture(params=["kernels", "tensors"])
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with the compiled kernels, and with what runs on other devices."""
    if request.param == "tensors":
        monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)


def test_every_reconstruction_metric_has_an_independent_reference() -> None:
    assert list(RECONSTRUCTION_METRICS) == list(RECONSTRUCTION_REFERENCES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("metric", RECONSTRUCTION_REFERENCES)
@pytest.mark.usefixtures("code")
def test_reconstruction_metric_equals_the_loops_of_its_definition(
    metric: str, size: tuple[int, int]
) -> None:
    original = noise(1, *size)
    pairs = [(noise(2, *size), original), (255 - original, original), (noise(3, *size), original)]
    reconstructions, originals = zip(*pairs, strict=True)
    found = RECONSTRUCTION_METRICS[metric](batch(*reconstructions), batch(*originals))
    expected = [RECONSTRUCTION_REFERENCES[metric](*pair) for pair in pairs]
    assert found.tolist() == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("metric", RECONSTRUCTION_REFERENCES)
@pytest.mark.usefixtures("code")
def test_reconstruction_metric_of_nearly_equal_images_equals_its_loops(metric: str) -> None:
    original = noise(4, 17, 13)
    found = RECONSTRUCTION_METRICS[metric](batch(nearly(original)), batch(original))
    expected = RECONSTRUCTION_REFERENCES[metric](nearly(original), original)
    assert found.tolist() == pytest.approx([expected], rel=TOLERANCE)


@pytest.mark.parametrize("metric", RECONSTRUCTION_METRICS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_reconstruction_metric_of_levels_equals_that_of_floats_in_0_to_1(
    metric: str, dtype: torch.dtype
) -> None:
    images = batch(noise(1, 17, 13)), batch(noise(2, 17, 13))
    of_levels = RECONSTRUCTION_METRICS[metric](*images)
    of_floats = RECONSTRUCTION_METRICS[metric](*(i.to(dtype) / 255 for i in images))
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    assert of_floats.tolist() == pytest.approx(of_levels.tolist(), rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("metric", RECONSTRUCTION_METRICS)
def test_reconstruction_metric_returns_one_double_an_image(metric: str, dtype: torch.dtype) -> None:
    images = batch(noise(1, 6, 7), noise(2, 6, 7)).to(dtype)
    values = RECONSTRUCTION_METRICS[metric](images // 2, images // 3)
    assert (values.dtype, values.shape) == (torch.float64, (2,))


def test_equal_images_have_no_psnr_whatever_their_batch_mates_have() -> None:
    original, other = noise(1, 8, 9), noise(2, 8, 9)
    found = RECONSTRUCTION_METRICS["PSNR"](batch(original, other), batch(original, original))
    assert [math.isnan(value) for value in found.tolist()] == [True, False]


def test_equal_images_have_no_squared_error() -> None:
    images = batch(noise(1, 8, 9))
    assert RECONSTRUCTION_METRICS["MSE"](images, images).tolist() == [0.0]


def test_equal_images_have_a_structural_similarity_of_one() -> None:
    images = batch(noise(1, 8, 9))
    value = RECONSTRUCTION_METRICS["SSIM"](images, images).tolist()
    assert value == pytest.approx([1.0], abs=1e-13)


def test_psnr_of_black_against_white_is_zero() -> None:
    black, white = np.zeros((4, 5), dtype=np.uint8), np.full((4, 5), 255, dtype=np.uint8)
    value = RECONSTRUCTION_METRICS["PSNR"](batch(black), batch(white)).tolist()
    assert value == [0.0]


def test_a_tenth_of_the_error_is_twenty_decibels_more() -> None:
    original = np.full((4, 5), 0.5)
    images = [torch.from_numpy(original + error)[None, None] for error in (0.0, 0.1, 0.01)]
    psnr = RECONSTRUCTION_METRICS["PSNR"]
    near, far = psnr(images[2], images[0]), psnr(images[1], images[0])
    assert (near - far).tolist() == pytest.approx([20.0], abs=1e-11)


@pytest.mark.parametrize("metric", RECONSTRUCTION_METRICS)
def test_reconstruction_metric_leaves_its_inputs_alone(metric: str) -> None:
    images = [batch(noise(seed, 6, 7)) / 255.0 for seed in (1, 2)]
    copies = [image.clone() for image in images]
    RECONSTRUCTION_METRICS[metric](*images)
    assert all(map(torch.equal, images, copies))


def test_single_arrays_and_tensors_give_scalars_equal_to_those_of_a_batch() -> None:
    arrays = noise(1, 17, 13), noise(2, 17, 13)
    tensors = [torch.from_numpy(array) for array in arrays]
    for metric in RECONSTRUCTION_METRICS.values():
        expected = metric(*(batch(array) for array in arrays))[0]
        for found in (metric(*arrays), metric(*tensors)):
            assert (found.shape, found.item()) == ((), expected.item())


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), (1, 3, 4, 4), (1, 1, 0, 4), (0, 1, 4, 4)])
def test_images_of_another_layout_are_refused(shape: tuple[int, ...]) -> None:
    images = torch.zeros(shape)
    with pytest.raises(InvalidValueError, match=r"shape \(H, W\) or \(B, 1, H, W\), but got"):
        RECONSTRUCTION_METRICS["MSE"](images, images)


OTHERS = {
    "size": torch.zeros(1, 1, 4, 5),
    "batch": torch.zeros(2, 1, 4, 4),
    "dtype": torch.zeros(1, 1, 4, 4, dtype=torch.float64),
}


@pytest.mark.parametrize("other", OTHERS)
def test_images_are_refused_that_differ_in(other: str) -> None:
    with pytest.raises(InvalidValueError, match="of one shape and dtype, but got"):
        RECONSTRUCTION_METRICS["MSE"](torch.zeros(1, 1, 4, 4), OTHERS[other])


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.bool])
def test_images_of_other_numbers_are_refused(dtype: torch.dtype) -> None:
    images = torch.zeros(1, 1, 4, 4, dtype=dtype)
    with pytest.raises(InvalidValueError, match=f"uint8 or floating point, but got {dtype}"):
        RECONSTRUCTION_METRICS["MSE"](images, images)


def test_every_reconstruction_metric_checks_its_images() -> None:
    for metric in RECONSTRUCTION_METRICS.values():
        with pytest.raises(InvalidValueError, match="of one shape and dtype"):
            metric(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
