from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import subset_shares

MEANS = np.random.default_rng(17).integers(2, 8, size=(4, 9)) / 2.0


def test_shares_are_those_of_a_plain_loop_over_all_subsets() -> None:
    for found in subset_shares(MEANS):
        won = np.zeros(4)
        subsets = list(combinations(range(9), found.subset_size))
        for subset in subsets:
            overall = MEANS[:, subset].sum(axis=1)
            best = overall == overall.min()
            won += best / best.sum()
        assert (found.subsets, found.sampled) == (len(subsets), False)
        assert found.shares == pytest.approx(won / len(subsets), abs=1e-12)


def test_many_subsets_are_sampled_with_a_seed() -> None:
    means = np.random.default_rng(1).normal(size=(3, 40)) + np.array([[0.0], [0.1], [0.2]])
    (small, large) = subset_shares(means, (3, 5))
    assert (small.subsets, small.sampled) == (9880, False)
    assert (large.subsets, large.sampled) == (20_000, True)
    assert large.shares.tobytes() == subset_shares(means, (5,))[0].shares.tobytes()


def test_a_sample_resembles_all_subsets() -> None:
    (everything,) = subset_shares(MEANS, (4,))
    (sample,) = subset_shares(MEANS, (4,), most_subsets=120)
    (repeated,) = subset_shares(np.tile(MEANS, 3), (4,), seed=1)
    assert (sample.subsets, sample.sampled) == (120, True)
    assert sample.shares == pytest.approx(everything.shares, abs=0.2)
    assert repeated.shares.sum() == pytest.approx(1.0)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_metrics_does_not_matter(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(9)
    for found, other in zip(subset_shares(MEANS), subset_shares(MEANS[:, order]), strict=True):
        assert other.shares == pytest.approx(found.shares, abs=1e-12)


def test_sizes_beyond_the_number_of_metrics_are_left_out() -> None:
    assert [found.subset_size for found in subset_shares(MEANS[:, :4])] == [3, 4]


def test_metrics_without_blocks_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="got NaN"):
        subset_shares(np.array([[1.0, np.nan]]))
