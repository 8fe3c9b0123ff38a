from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import compare_methods, decide, rank_biserial, signed_rank

GENERATOR = np.random.default_rng(7)
CONTINUOUS = GENERATOR.normal(0.2, size=50)
TIED = GENERATOR.normal(0.3, size=40).round(1) + 0.05
WITH_ZEROS = GENERATOR.normal(0.3, size=45).round(0)
LONG = GENERATOR.normal(0.05, size=400)

DIFFERENCES = hnp.arrays(
    np.float64, st.integers(6, 60), elements=st.integers(-8, 8).map(lambda number: number / 4.0)
)


@pytest.mark.parametrize(
    ("differences", "exact"),
    [(CONTINUOUS, True), (CONTINUOUS[:7], True), (TIED, False), (WITH_ZEROS, False), (LONG, False)],
    ids=["exact", "exact-short", "ties", "zeros", "long"],
)
def test_the_signed_rank_test_is_that_of_scipy(
    differences: NDArray[np.float64], exact: bool
) -> None:
    expected = stats.wilcoxon(
        differences, zero_method="pratt", method="exact" if exact else "asymptotic"
    )
    found = signed_rank(differences)
    assert found.exact == exact
    assert (found.w, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_exact_p_values_count_all_signs() -> None:
    differences = np.array([0.5, -1.5, 2.0, 3.5, -4.0, 6.0, 7.0])
    ranks = np.arange(1, 8)
    signs = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1)
    sums = ranks @ signs
    assert signed_rank(differences).w == 7
    assert signed_rank(differences).p == pytest.approx(2.0 * (sums <= 7).mean(), rel=1e-12)


@settings(deadline=None)
@given(DIFFERENCES)
def test_the_effect_changes_its_sign_with_the_differences(values: NDArray[np.float64]) -> None:
    effect, reverse = rank_biserial(values), rank_biserial(-values)
    assert effect is not None
    assert -1.0 <= effect <= 1.0
    assert reverse == pytest.approx(-effect, abs=1e-12)


@settings(deadline=None)
@given(DIFFERENCES)
def test_the_test_does_not_depend_on_order_or_sign(values: NDArray[np.float64]) -> None:
    found, other = signed_rank(values), signed_rank(-values[::-1])
    assert (other.w, other.p) == pytest.approx((found.w, found.p), rel=1e-12)


def test_equal_values_have_no_effect() -> None:
    found = signed_rank(np.zeros(10))
    assert (found.n, found.p, found.rank_biserial) == (10, 1.0, 0.0)


def test_zeros_lessen_the_effect() -> None:
    assert rank_biserial(np.array([0.0, 0.0, 1.0])) == 0.5


def test_fewer_than_six_blocks_are_not_tested() -> None:
    (found,) = compare_methods(np.arange(10.0).reshape(5, 2) ** 2, ["x", "y"], True)
    assert (found.n, found.w, found.p, found.p_holm) == (5, None, None, None)
    assert found.wins_b == 5
    assert found.rank_biserial == -1.0
    assert decide(found, found.p_holm, True) == "none"


def test_methods_without_common_blocks_have_no_numbers() -> None:
    (found,) = compare_methods(np.array([[1.0, np.nan], [np.nan, 1.0]]), ["x", "y"], True)
    assert (found.n, found.median_difference, found.hl_estimate) == (0, None, None)
    assert found.rank_biserial is None


@pytest.mark.parametrize(("higher_is_better", "wins", "verdict"), [(True, 8, "a"), (False, 0, "b")])
def test_the_direction_of_the_metric_decides_who_wins(
    higher_is_better: bool, wins: int, verdict: str
) -> None:
    values = np.array([[1.0 + number / 10, 0.0] for number in range(8)])
    (found,) = compare_methods(values, ["x", "y"], higher_is_better)
    assert (found.wins_a, found.ties) == (wins, 0)
    assert found.rank_biserial == 1.0
    assert decide(found, found.p_holm, higher_is_better) == verdict


def test_differences_of_many_blocks_must_be_large_enough() -> None:
    differences = np.random.default_rng(1).normal(0.05, size=8000)
    (small,) = compare_methods(np.stack([differences, 0.0 * differences], axis=1), "xy", True)
    assert small.p is not None
    assert small.rank_biserial is not None
    assert small.p < 1e-3
    assert 0.0 < small.rank_biserial < 0.1
    assert decide(small, small.p, True) == "none"
    assert decide(replace(small, n=1000), small.p, True) == "a"
    assert decide(replace(small, rank_biserial=0.1), small.p, True) == "a"


def test_p_values_are_corrected_for_all_pairs_of_methods() -> None:
    values = np.random.default_rng(4).normal(size=(20, 4)) + np.arange(4) / 2
    found = compare_methods(values, ["s", "t", "u", "v"], True)
    assert [(each.a, each.b) for each in found][:4] == [
        ("s", "t"), ("s", "u"), ("s", "v"), ("t", "u"),
    ]  # fmt: skip
    smallest = min(found, key=lambda each: each.p or 0.0)
    assert smallest.p_holm == 6 * (smallest.p or 0.0)


def test_a_name_for_each_method_is_required() -> None:
    with pytest.raises(InvalidValueError, match="Expected 2 names of methods, but got 3"):
        compare_methods(np.ones((6, 2)), ["x", "y", "z"], True)
