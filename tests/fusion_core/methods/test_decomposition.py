from __future__ import annotations

import itertools

import numpy as np
import torch
from support import reference_fusion
from support.networks import gray_levels, source_images

from fusion_core.methods.decomposition import mean_filter, tikhonov

SIZES = ((61, 47), (33, 20), (5, 7), (1, 9), (8, 1), (1, 1))

TIKHONOV_TOLERANCE = 2e-3
"""Gray levels; float32 was measured to be off by 1.9e-4 at most."""
MEAN_TOLERANCE = 1e-3
"""Gray levels; float32 was measured to be off by 1.2e-4 at most."""


def base_of(image: reference_fusion.Image, smoothness: float) -> torch.Tensor:
    return tikhonov(torch.from_numpy(image).float(), smoothness=smoothness)


def test_tikhonov_equals_the_fourier_solution_in_float64() -> None:
    for size, smoothness in itertools.product(SIZES, (0.3, 5.0, 200.0)):
        image = source_images(size)[1]
        expected = reference_fusion.tikhonov(image, smoothness)
        difference = gray_levels(base_of(image, smoothness), expected)
        assert difference < TIKHONOV_TOLERANCE, (size, smoothness)


def test_tikhonov_solves_the_normal_equations() -> None:
    for size, smoothness in itertools.product(SIZES, (0.3, 5.0)):
        image = source_images(size)[0]
        expected = reference_fusion.tikhonov_sparse(image, smoothness)
        difference = gray_levels(base_of(image, smoothness), expected)
        assert difference < TIKHONOV_TOLERANCE, (size, smoothness)


def test_tikhonov_without_smoothness_is_the_image() -> None:
    image = source_images((33, 20))[1]
    assert gray_levels(base_of(image, 0.0), image) < TIKHONOV_TOLERANCE


def test_tikhonov_takes_each_image_of_a_stack_by_itself() -> None:
    images = torch.from_numpy(np.stack(source_images((13, 9), 4))).float().view(2, 2, 1, 13, 9)
    alone = torch.stack([tikhonov(image) for image in images.flatten(0, 2)]).view_as(images)
    assert torch.equal(tikhonov(images), alone)


def test_tikhonov_of_a_flat_image_is_the_image() -> None:
    base = tikhonov(torch.full((1, 1, 7, 5), 93.0))
    assert (base - 93.0).abs().max() < TIKHONOV_TOLERANCE


def test_mean_filter_equals_the_mean_of_windows_in_float64() -> None:
    for size, side in itertools.product(SIZES, (1, 3, 31)):
        images = source_images(size)
        stack = torch.from_numpy(np.stack(images)).float().unsqueeze(1)
        found = mean_filter(stack, size=side)[:, 0]
        expected = np.stack([reference_fusion.mean_filter(image, side) for image in images])
        assert gray_levels(found, expected) < MEAN_TOLERANCE, (size, side)


def test_mean_filter_repeats_the_border() -> None:
    row = torch.tensor([0.0, 0.0, 9.0]).view(1, 1, 1, 3)
    # Windows of three: 0 0 0, 0 0 9 and 0 9 9.
    assert torch.allclose(mean_filter(row, size=3).flatten(), torch.tensor([0.0, 3.0, 6.0]))
