from __future__ import annotations

import numpy as np
import pytest

from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics.scoring import score_images


def test_same_seed_draws_the_same_scene() -> None:
    first, second = (synthetic_pair(20, 30, seed=4) for _ in range(2))
    assert all(map(np.array_equal, first, second))


def test_different_seeds_draw_different_scenes() -> None:
    first, second = (synthetic_pair(20, 30, seed=seed) for seed in (4, 5))
    assert not any(map(np.array_equal, first, second))


@pytest.mark.parametrize("colour", [True, False])
def test_scene_has_the_requested_size_and_channels(colour: bool) -> None:
    for size in ((1, 1), (1, 40), (40, 1), (2, 3), (37, 53)):
        ir, vis = synthetic_pair(*size, seed=1, colour=colour)
        assert (ir.shape, vis.shape) == (size, (*size, 3) if colour else size)
        assert ir.dtype == vis.dtype == np.uint8


def test_warm_figures_stand_out_in_the_infrared_image_alone() -> None:
    for seed in range(5):
        ir, vis = synthetic_pair(120, 160, seed=seed, colour=False)
        warm = ir > 175
        assert warm.any(), seed
        assert ir[warm].mean() - ir[~warm].mean() > 70, seed
        assert vis[warm].mean() < vis[~warm].mean(), seed


def test_every_metric_is_defined_for_a_scene() -> None:
    for seed in range(5):
        ir, vis = synthetic_pair(48, 64, seed=seed, colour=False)
        fused = ((ir.astype(int) + vis) // 2).astype(np.uint8)
        (scores,) = score_images([ir], [vis], [fused], ["EN", "MI", "SCD", "SSIM_a"])
        assert scores.notes is None, seed
