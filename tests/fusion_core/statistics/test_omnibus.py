from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fusion_core.statistics import concordance, friedman


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["many-ties", "ties", "no-ties"])
def test_friedmans_test_is_that_of_scipy(decimals: int) -> None:
    values = np.random.default_rng(3).normal(size=(40, 5)).round(decimals)
    found, expected = friedman(values), stats.friedmanchisquare(*values.T)
    assert found.chi2 == pytest.approx(expected.statistic, rel=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.kendall_w == pytest.approx(expected.statistic / (40 * 4), rel=1e-9)


def test_equal_values_show_no_difference() -> None:
    found = friedman(np.ones((10, 3)))
    assert (found.chi2, found.p, found.kendall_w) == (0.0, 1.0, 0.0)


def test_fewer_than_six_blocks_are_not_tested() -> None:
    values = np.arange(21.0).reshape(7, 3)
    values[:2, 1] = np.nan
    found = friedman(values)
    assert (found.n_blocks, found.chi2, found.p) == (5, None, None)


def test_concordance_of_judges_who_agree_is_one() -> None:
    assert concordance(np.tile([2.0, 1.0, 3.0], (4, 1))) == 1.0


def test_judges_without_ranks_are_left_out() -> None:
    ranks = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan], [1.0, 3.0, 2.0]])
    assert concordance(ranks) == concordance(ranks[[0, 2]])
