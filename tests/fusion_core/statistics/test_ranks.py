from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import (
    average_groups,
    bootstrap_ranks,
    cluster_intervals,
    leave_one_metric_out,
    rank_methods,
)

VALUES = np.random.default_rng(11).normal(size=(40, 4, 3)).round(1)
VALUES += np.array([0.0, 0.2, 0.4, 0.9])[:, None]
DIRECTIONS = [True, False, True]
COUNTED = np.array([True, True, False])


@pytest.fixture(scope="module")
def ranks() -> NDArray[np.float64]:
    return rank_methods(VALUES, DIRECTIONS)


def test_ranks_are_those_of_scipy_in_each_block(ranks: NDArray[np.float64]) -> None:
    for block in range(len(VALUES)):
        for metric, higher in enumerate(DIRECTIONS):
            values = VALUES[block, :, metric]
            expected = stats.rankdata(-values if higher else values)
            assert ranks[block, :, metric].tolist() == expected.tolist()


def test_incomplete_blocks_have_no_ranks() -> None:
    values = VALUES.copy()
    values[3, 1, 2] = np.nan
    found = rank_methods(values, DIRECTIONS)
    assert np.isnan(found[3, :, 2]).all()
    assert np.isnan(found).sum() == 4


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_methods_does_not_change_their_ranks(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(4)
    found = rank_methods(VALUES[:, order], DIRECTIONS)
    assert np.array_equal(found, rank_methods(VALUES, DIRECTIONS)[:, order])


def test_intervals_of_mean_ranks_agree_with_scipys_bootstrap(ranks: NDArray[np.float64]) -> None:
    overall = bootstrap_ranks(ranks, COUNTED, resamples=20_000).overall
    assert overall is not None
    for method in range(4):
        values = ranks[:, method, COUNTED].mean(axis=1)
        expected = stats.bootstrap(
            (values,), np.mean, method="percentile", n_resamples=20_000, rng=3
        ).confidence_interval
        tolerance = 0.05 * (expected.high - expected.low)
        assert overall.mean[method] == pytest.approx(values.mean(), rel=1e-12)
        assert overall.low[method] == pytest.approx(expected.low, abs=tolerance)
        assert overall.high[method] == pytest.approx(expected.high, abs=tolerance)


def test_probabilities_of_being_first_are_those_of_a_plain_loop(
    ranks: NDArray[np.float64],
) -> None:
    found = bootstrap_ranks(ranks, COUNTED, resamples=50, seed=6).overall
    generator = np.random.default_rng(6)
    first = np.zeros(4)
    for _ in range(50):
        drawn = ranks[generator.integers(0, 40, 40)][:, :, COUNTED]
        means = drawn.mean(axis=(0, 2))
        best = np.isclose(means, means.min())
        first += best / best.sum()
    assert found is not None
    assert found.p_first == pytest.approx(first / 50, abs=1e-12)


def test_repetition_gives_the_same_bytes(ranks: NDArray[np.float64]) -> None:
    first, second = (bootstrap_ranks(ranks, COUNTED).overall for _ in range(2))
    assert first is not None
    assert second is not None
    for name in ("mean", "low", "high", "p_first"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_methods_that_tie_share_the_first_place() -> None:
    found = bootstrap_ranks(np.full((10, 2, 1), 1.5), np.array([True])).overall
    assert found is not None
    assert found.p_first.tolist() == [0.5, 0.5]


def test_metrics_without_blocks_are_left_out(ranks: NDArray[np.float64]) -> None:
    gaps = ranks.copy()
    gaps[:, :, 1] = np.nan
    found = bootstrap_ranks(gaps, COUNTED)
    assert found.metrics[1] is None
    assert found.overall is not None
    assert found.metrics[0] is not None
    assert found.overall.mean.tolist() == found.metrics[0].mean.tolist()


def test_nothing_to_rank_gives_no_ranking() -> None:
    found = bootstrap_ranks(np.full((5, 2, 3), np.nan), COUNTED)
    assert (found.metrics, found.overall) == ((None,) * 3, None)


def test_leaving_a_metric_out_may_change_the_winner() -> None:
    means = np.array([[1.0, 2.0, 1.6], [2.0, 1.0, 1.4]])
    assert leave_one_metric_out(means).tolist() == [[False, True, True], [True, False, True]]


def test_one_metric_alone_cannot_be_left_out() -> None:
    with pytest.raises(InvalidValueError, match="at least two metrics, but got 1"):
        leave_one_metric_out(np.ones((2, 1)))


def test_cluster_intervals_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(8)
    values = generator.normal(size=(30, 2))
    values[4, 1] = np.nan
    groups = [f"g{place % 7}" for place in range(30)]
    found = cluster_intervals(values, groups, resamples=300, seed=2)
    members = [[p for p in range(30) if groups[p] == name] for name in sorted(set(groups))]
    draws = np.random.default_rng(2)
    means = []
    for _ in range(300):
        pairs = [pair for group in draws.integers(0, 7, 7) for pair in members[group]]
        means.append(np.nanmean(values[pairs], axis=0))
    expected = np.quantile(means, (0.025, 0.975), axis=0)
    assert np.array(found) == pytest.approx(expected.T, rel=1e-9)


def test_frames_of_few_sequences_give_wider_intervals() -> None:
    generator = np.random.default_rng(1)
    values = np.repeat(generator.normal(size=10), 50)[:, None] + generator.normal(size=(500, 1))
    ends = [
        cluster_intervals(values, [str(place // length) for place in range(500)])[0] or (0.0, 0.0)
        for length in (50, 1)
    ]
    assert ends[0][1] - ends[0][0] > 2.0 * (ends[1][1] - ends[1][0])


def test_one_group_alone_has_no_interval() -> None:
    assert cluster_intervals(np.ones((3, 1)), ["a"] * 3) == [None]
    assert cluster_intervals(np.ones((0, 1)), []) == [None]


def test_averaged_groups_are_the_blocks_of_the_ranking() -> None:
    groups = [str(place % 8) for place in range(40)]
    _, averages = average_groups(VALUES, groups)
    found = bootstrap_ranks(rank_methods(averages, DIRECTIONS), COUNTED).metrics[0]
    means = np.array(
        [VALUES[np.array(groups) == name].mean(axis=0) for name in sorted(set(groups))]
    )
    expected = stats.rankdata(-means[:, :, 0].round(9), axis=1).mean(axis=0)
    assert found is not None
    assert found.mean == pytest.approx(expected, abs=1e-9)
