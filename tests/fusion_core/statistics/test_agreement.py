from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from fusion_core.statistics import (
    choose_pairs,
    metric_agreement,
    pair_quality,
    pair_ranks,
    rank_methods,
)

VALUES = np.random.default_rng(19).normal(size=(12, 4, 5)).round(1)
RANKS = rank_methods(VALUES, [True] * 5)


def test_agreement_follows_from_friedmans_test_of_each_pair() -> None:
    found = metric_agreement(RANKS)
    for pair in range(12):
        # The metrics are the blocks of this test.
        expected = stats.friedmanchisquare(*VALUES[pair]).statistic / (5 * 3)
        assert found[pair] == pytest.approx(expected, rel=1e-9)


def test_agreement_follows_from_the_mean_of_all_rank_correlations() -> None:
    values = np.random.default_rng(2).normal(size=(1, 6, 4))
    rho = stats.spearmanr(values[0]).statistic
    mean = (rho.sum() - 4) / 12
    found = metric_agreement(rank_methods(values, [True] * 4))
    assert found == pytest.approx([(3 * mean + 1) / 4], rel=1e-9)


def test_undefined_metrics_are_left_out_of_a_pair() -> None:
    ranks = RANKS.copy()
    ranks[0, :, 2] = np.nan
    found, expected = metric_agreement(ranks), metric_agreement(np.delete(RANKS, 2, axis=2))
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    assert found[1:] == pytest.approx(metric_agreement(RANKS)[1:], rel=1e-12)


def test_one_metric_or_equal_methods_have_no_agreement() -> None:
    assert np.isnan(metric_agreement(RANKS[:, :, :1])).all()
    assert np.isnan(metric_agreement(np.full((2, 3, 4), 2.0))).all()


def test_ranks_of_a_pair_are_averaged_over_its_metrics() -> None:
    ranks = RANKS.copy()
    ranks[0, :, 1] = np.nan
    assert pair_ranks(ranks) == pytest.approx(np.nanmean(ranks, axis=2), rel=1e-12)


def test_quality_is_the_place_of_a_pair_by_its_mean_scores() -> None:
    values = VALUES.copy()
    values[3, 1, 4] = np.nan
    means = values.mean(axis=1)
    found = pair_quality(values)
    for pair in range(12):
        places = [
            stats.percentileofscore(column[~np.isnan(column)], column[pair], kind="mean") / 100
            for column in means.T
            if not np.isnan(column[pair])
        ]
        assert found[pair] == pytest.approx(np.mean(places), abs=1e-9)


def test_pairs_are_chosen_for_each_reason_in_turn() -> None:
    quality = np.arange(12.0)
    agreement = np.array([3, 2, 0, 5, 9, 1, 8, 7, 6, 4, 10, 11]) / 16.0
    chosen = choose_pairs(quality, agreement, 6)
    reasons = {place: reason for place, reason in enumerate(chosen) if reason != "none"}
    assert reasons == {
        11: "best", 0: "worst", 2: "disputed", 3: "typical", 10: "best", 1: "worst",
    }  # fmt: skip


def test_no_pair_is_chosen_twice_or_without_values() -> None:
    quality = np.array([np.nan, 0.5, 0.7])
    chosen = choose_pairs(quality, np.array([np.nan, 0.1, 0.1]), 10)
    assert chosen == ("none", "worst", "best")
    assert Counter(choose_pairs(quality, quality, 0)) == {"none": 3}
