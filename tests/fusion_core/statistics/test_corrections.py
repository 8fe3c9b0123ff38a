from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from fusion_core.statistics import benjamini_hochberg, holm

Correction = Callable[[list[float | None]], tuple[float | None, ...]]
P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@pytest.mark.parametrize("seed", range(3))
def test_holms_correction_is_that_of_statsmodels(seed: int) -> None:
    p_values = (np.random.default_rng(seed).random(12) ** 4).round(2).tolist()
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-300)


@settings(deadline=None)
@given(P_VALUES)
def test_the_false_discovery_rate_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="fdr_bh")[1]
    assert benjamini_hochberg(p_values) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_was_not_tested_is_not_counted(correct: Correction) -> None:
    assert correct([None, 0.01, None, 0.5]) == (None, 0.02, None, 0.5)
    assert correct([None]) == (None,)


@settings(deadline=None)
@given(P_VALUES.flatmap(lambda p_values: st.tuples(st.just(p_values), st.permutations(p_values))))
def test_the_order_of_tests_does_not_matter(p_values: tuple[list[float], list[float]]) -> None:
    adjusted, shuffled = (
        sorted(zip(each, holm(each), strict=True), key=lambda pair: pair[0]) for each in p_values
    )
    assert shuffled == adjusted
