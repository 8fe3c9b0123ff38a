from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion_core.methods.strategies import addition, l1_norm, l1_weights, mean


def maps(*shape: int, seed: int = 0) -> Tensor:
    """Signed feature maps of shape `(K, B, C, H, W)`."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_addition_sums_over_the_sources() -> None:
    first, second, third = features = maps(3, 2, 4, 5, 6)
    assert torch.allclose(addition(features), first + second + third, rtol=0, atol=1e-15)


def test_mean_is_addition_over_the_number_of_sources() -> None:
    features = maps(3, 2, 4, 5, 6)
    assert torch.allclose(mean(features), addition(features) / 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_l1_weights_sum_to_one_over_the_sources(radius: int) -> None:
    total = l1_weights(maps(3, 2, 4, 5, 6), radius=radius).sum(dim=0)
    assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-14)


def test_l1_norm_weighs_by_the_share_of_the_activity() -> None:
    features = torch.tensor([[3.0, -1.0], [2.0, 2.0], [0.0, 8.0]]).reshape(3, 1, 2, 1, 1)
    # |3| + |-1| = 4, 2 + 2 = 4 and 0 + 8 = 8: weights 1/4, 1/4 and 1/2.
    expected = torch.tensor([3.0 / 4 + 2.0 / 4 + 0.0, -1.0 / 4 + 2.0 / 4 + 8.0 / 2])
    assert torch.allclose(l1_norm(features).flatten(), expected, rtol=0, atol=1e-6)


def test_l1_norm_follows_the_only_active_source() -> None:
    features = torch.stack((maps(1, 4, 5, 6), torch.zeros(1, 4, 5, 6, dtype=torch.float64)))
    assert torch.equal(l1_norm(features), features[0])


def test_l1_norm_weighs_inactive_sources_alike() -> None:
    weights = l1_weights(torch.zeros(4, 1, 2, 3, 3))
    assert torch.equal(weights, torch.full((4, 1, 1, 3, 3), 0.25))


def test_l1_norm_averages_the_activity_over_its_block_only() -> None:
    features = torch.ones(2, 1, 1, 1, 9)
    features[0, ..., 0] = 7.0
    weights = l1_weights(features, radius=2)[0].flatten().numpy()
    # The border is repeated: columns 0, 1 and 2 see the bright pixel three, two and one times.
    shares = [(5 + 6 * n) / (10 + 6 * n) for n in (3, 2, 1, 0, 0, 0, 0, 0, 0)]
    assert np.allclose(weights, shares, rtol=0, atol=1e-6)


def test_l1_norm_of_identical_sources_is_that_source() -> None:
    source = maps(2, 4, 5, 6)
    assert torch.allclose(l1_norm(torch.stack((source, source))), source, rtol=0, atol=1e-14)
