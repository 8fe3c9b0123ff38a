from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import linalg

from fusion_core.methods.gtf import _difference, _quantile_bin, _transposed, conjugate_gradients


def test_each_image_of_a_batch_is_solved_until_its_own_test() -> None:
    generator = np.random.default_rng(0)
    scales = torch.from_numpy(generator.uniform(1, 50, (3, 1, 6, 7)))
    scales[1] = 1.0  # solved by one step, while the others go on
    target = torch.from_numpy(generator.normal(size=(3, 1, 6, 7)))
    together = conjugate_gradients(lambda x: scales * x, target, torch.zeros_like(target))
    for number in range(3):
        part = scales[number : number + 1]
        alone = conjugate_gradients(
            lambda x, part=part: part * x, target[number : number + 1], torch.zeros(1, 1, 6, 7)
        )
        assert torch.equal(together[number], alone[0])


def test_the_solution_reduces_the_residual_fivefold() -> None:
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(30, 30))
    matrix = matrix @ matrix.T + np.eye(30)
    target = generator.normal(size=30)
    system = torch.from_numpy(matrix)
    found = conjugate_gradients(
        lambda x: (system @ x.flatten()).view(1, 1, 5, 6),
        torch.from_numpy(target).view(1, 1, 5, 6),
        torch.zeros(1, 1, 5, 6, dtype=torch.float64),
    )
    residual = np.linalg.norm(matrix @ found.flatten().numpy() - target) / np.linalg.norm(target)
    assert residual <= 1 / 5
    expected, _ = linalg.cg(matrix, target, rtol=1 / 5)
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-9)


@pytest.mark.parametrize("dim", [-2, -1])
def test_the_transpose_belongs_to_the_difference(dim: int) -> None:
    first, second = torch.randn(2, 1, 1, 5, 7, dtype=torch.float64)
    forward = (_difference(first, dim) * second).sum()
    assert torch.isclose(forward, (first * _transposed(second, dim)).sum(), rtol=1e-12)


def test_the_quantile_is_the_first_bin_that_exceeds_the_share() -> None:
    values = torch.arange(1000, dtype=torch.float64).view(1, 1, 25, 40)
    centers, place = _quantile_bin(values, 0.05)
    assert place.item() == 50  # bins 0 to 50 hold 5.1 %
    assert centers[0, place.item()].item() == pytest.approx(50.0)
