from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.networks import deviation
from support.reference_fusion import window_norm

from fusion_core.choices import Norm
from fusion_core.methods.activity import activity_norm, l1_norm, sum_of_squares

NORMS: tuple[Norm, ...] = get_args(Norm)
norms = pytest.mark.parametrize("norm", NORMS)

TOLERANCE = 2e-6
"""Over the largest value; the largest deviation of float32 measured is 2.4e-7."""


def features(channels: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.float64]:
    values = np.random.default_rng(seed).normal(0, 1, (channels, *size))
    return values.astype(np.float32).astype(np.float64)


def measure(maps: torch.Tensor, norm: Norm, radius: int, **sizes: int) -> torch.Tensor:
    steps = activity_norm(norm, radius, **sizes)
    return steps.finish(steps.collect(maps))


@norms
def test_norm_equals_the_reference(norm: Norm) -> None:
    for radius, size in itertools.product((0, 1, 2, 3), ((13, 9), (2, 7), (1, 5), (1, 1))):
        maps = [features(30, size, seed) for seed in (1, 2)]
        expected = np.stack([window_norm(each, norm, radius) for each in maps])
        found = measure(torch.from_numpy(np.stack(maps)).float(), norm, radius)
        assert (found.shape, found.dtype) == ((2, *size), torch.float32)
        assert deviation(found, expected) < TOLERANCE, (radius, size)


@norms
def test_fewer_channels_than_pixels_of_a_block_do_not_matter(norm: Norm) -> None:
    for channels in (1, 3):
        maps = features(channels, (7, 6))
        found = measure(torch.from_numpy(maps).float()[None], norm, 2)[0]
        assert deviation(found, window_norm(maps, norm, 2)) < TOLERANCE, channels


@norms
def test_sums_of_some_channels_at_a_time_add_up(norm: Norm) -> None:
    maps = torch.from_numpy(features(30, (9, 8))).float()[None]
    steps = activity_norm(norm, 2)
    sums = [steps.collect(part) for part in maps.split(7, dim=1)]
    together = steps.finish(sum(sums[1:], start=sums[0]))
    assert deviation(together, measure(maps, norm, 2).double().numpy()) < TOLERANCE


@norms
def test_norm_of_nothing_is_nothing(norm: Norm) -> None:
    assert not measure(torch.zeros(1, 5, 6, 4), norm, 1).any()


@norms
def test_norm_of_some_rows_at_a_time_is_the_same(norm: Norm) -> None:
    maps = torch.from_numpy(features(12, (23, 11))).float()[None]
    whole = measure(maps, norm, 2)
    parts = measure(maps, norm, 2, block_elements=400, matrix_elements=20_000)
    assert deviation(parts, whole.double().numpy()) < TOLERANCE


@norms
def test_bf16_features_are_summed_in_float32_or_better(norm: Norm) -> None:
    maps = torch.from_numpy(features(30, (6, 5))).to(torch.bfloat16)[None]
    expected = window_norm(maps[0].double().numpy(), norm, 1)
    assert deviation(measure(maps, norm, 1)[0], expected) < TOLERANCE


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_pixels_beyond_the_border_count_as_zero(norm: Norm) -> None:
    found = measure(torch.ones(1, 1, 3, 4), norm, 1)[0] * 9
    expected = [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]]
    assert torch.allclose(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_vector_norms_are_those_of_the_channels_of_a_pixel() -> None:
    maps = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    assert (l1_norm(maps).item(), sum_of_squares(maps).item()) == (7.0, 25.0)


def test_nuclear_norm_is_the_sum_of_singular_values() -> None:
    # The one pixel in the middle of its block is a matrix of one row: its length, here 5.
    found = measure(torch.tensor([3.0, -4.0]).view(1, 2, 1, 1), "nuclear", 1)
    assert found.item() == pytest.approx(5.0, rel=1e-6)
