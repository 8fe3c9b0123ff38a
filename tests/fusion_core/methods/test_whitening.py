from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import reference_fusion
from support.networks import deviation

from fusion_core.methods.whitening import whiten

Maps = NDArray[np.float64]

SIZES = ((12, 17), (17, 12), (9, 9), (1, 8), (8, 1), (2, 3), (40, 3))

TOLERANCE = 1e-9
"""Over the largest value; the largest deviation measured is 2e-11."""
SQUARED_CONDITION = 2e-6
"""Over the largest value, with singular values down to 1e-8 of the largest; measured: 1.9e-7."""


def features(*shape: int) -> Maps:
    return np.random.default_rng(5).normal(0.5, 1.0, shape)


def whitened(maps: Maps, epsilon: float = 1e-5) -> torch.Tensor:
    return whiten(torch.from_numpy(maps), epsilon=epsilon)


def test_whitening_equals_the_reference() -> None:
    for size, epsilon in itertools.product(SIZES, (1e-5, 1e-2)):
        maps = features(6, *size)
        expected = reference_fusion.whiten(maps, epsilon)
        assert deviation(whitened(maps, epsilon), expected) < TOLERANCE, (size, epsilon)
        expected = reference_fusion.whiten(maps, epsilon, centred=False)
        found = whiten(torch.from_numpy(maps), epsilon=epsilon, centred=False)
        assert deviation(found, expected) < TOLERANCE, (size, epsilon)


def test_rows_of_a_whitened_channel_are_uncorrelated_and_of_unit_length() -> None:
    [rows] = whitened(features(1, 6, 40), 1e-9)
    assert torch.allclose(rows @ rows.mT, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-8)


def test_constant_channel_becomes_zero() -> None:
    for size, value in itertools.product(((6, 9), (9, 6), (1, 1)), (0.0, 0.1, 1e3)):
        maps = np.stack([np.full(size, value), np.ones(size)])
        assert whitened(maps).abs().max() < TOLERANCE, (size, value)


def test_constant_channel_leaves_the_others_alone() -> None:
    maps = features(3, 7, 5)
    alone = whitened(maps[[0, 2]])
    maps[1] = 4.0
    assert torch.equal(whitened(maps)[[0, 2]], alone)


@pytest.mark.parametrize("size", [(12, 20), (20, 12)], ids=str)
def test_ill_conditioned_channel_equals_the_reference(size: tuple[int, int]) -> None:
    left, _, right = np.linalg.svd(features(1, *size), full_matrices=False)
    maps = (left * np.logspace(3, -5, 12)) @ right
    assert deviation(whitened(maps), reference_fusion.whiten(maps, 1e-5)) < SQUARED_CONDITION


def test_channel_of_one_rank_equals_the_reference() -> None:
    maps = np.outer(features(9), features(14))[None]
    assert deviation(whitened(maps), reference_fusion.whiten(maps, 1e-5)) < SQUARED_CONDITION


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_whitening_computes_in_float64(dtype: torch.dtype) -> None:
    maps = torch.from_numpy(features(2, 7, 11)).to(dtype)
    found = whiten(maps)
    assert found.dtype == torch.float64
    assert torch.equal(found, whiten(maps.double()))


def test_leading_dimensions_are_left_alone() -> None:
    maps = features(6, 5, 8)
    stacked = whitened(maps.reshape(2, 3, 5, 8)).reshape(6, 5, 8)
    assert deviation(stacked, whitened(maps).numpy()) < TOLERANCE
