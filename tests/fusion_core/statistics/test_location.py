from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import hodges_lehmann
from fusion_core.statistics.walsh import select_walsh_sum

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.floats(-1e-300, 1e-300))


def walsh_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sort(np.add.outer(values, values)[np.triu_indices(len(values))])


@pytest.mark.parametrize("n", [1, 2, 21, 50, 51, 600])
def test_the_estimate_is_the_median_of_all_walsh_averages(n: int) -> None:
    values = np.random.default_rng(n).gamma(2.0, size=n)
    assert hodges_lehmann(values).estimate == pytest.approx(
        np.median(walsh_sums(values) / 2.0), rel=1e-12
    )


@pytest.mark.parametrize("n", [6, 7, 21, 50])
def test_the_exact_interval_contains_the_centers_that_are_not_rejected(n: int) -> None:
    values = np.random.default_rng(n).normal(1.0, size=n)
    found = hodges_lehmann(values, 0.95)
    assert found.low is not None
    assert found.high is not None
    averages = walsh_sums(values) / 2.0
    for end, inside in ((found.low, 1), (found.high, -1)):
        place = int(np.searchsorted(averages, end))
        assert averages[place] == end
        rejected = end - 1e-9 if inside == 1 else end + 1e-9
        assert stats.wilcoxon(values - rejected, method="exact").pvalue <= 0.05
        assert stats.wilcoxon(values - end - inside * 1e-9, method="exact").pvalue > 0.05


def test_the_approximate_interval_contains_the_centers_that_are_not_rejected() -> None:
    values = np.random.default_rng(5).normal(1.0, size=300)
    found = hodges_lehmann(values, 0.9)
    assert found.low is not None
    assert found.high is not None
    for center, kept in [(found.low, 1), (found.low, -1), (found.high, -1), (found.high, 1)]:
        shifted = values - center - kept * 1e-3
        p = stats.wilcoxon(shifted, method="asymptotic").pvalue
        assert (p > 0.1) == ((center == found.low) == (kept == 1))


def test_too_few_differences_have_no_interval() -> None:
    found = hodges_lehmann(np.arange(5.0), 0.95)
    assert (found.estimate, found.low, found.high) == (2.0, None, None)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=NUMBERS), st.data())
def test_selection_is_exact_however_many_sums_are_equal(
    values: NDArray[np.float64], data: st.DataObject
) -> None:
    sums = walsh_sums(values)
    rank = data.draw(st.integers(1, len(sums)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fusion_core.statistics.walsh._SUMS_AT_ONCE", 2)
        assert select_walsh_sum(np.sort(values), rank) == sums[rank - 1]


def test_selection_needs_no_array_of_all_sums() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=3000).round(3))
    sums = walsh_sums(values)
    for rank in (1, 1000, len(sums) // 2, len(sums)):
        assert select_walsh_sum(values, rank) == sums[rank - 1]


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.integers(0, 100))
def test_the_estimate_moves_with_the_differences(shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=12)
    found, moved = hodges_lehmann(values), hodges_lehmann(values + shift)
    assert moved.estimate == pytest.approx(found.estimate + shift, abs=1e-9)


def test_undefined_differences_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="Expected one or more finite differences"):
        hodges_lehmann(np.array([1.0, np.nan]))
