from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scikit_posthocs
from scipy import stats

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import mean_ranks, nemenyi_difference, unseparated_groups

# J. Demšar 2006, Table 5 (a): critical values of the two-tailed Nemenyi test, alpha = 0.05.
DEMSAR = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("k", DEMSAR)
def test_critical_values_are_those_of_the_paper(k: int) -> None:
    assert nemenyi_difference(k, 21) * (6 * 21 / (k * (k + 1))) ** 0.5 == pytest.approx(
        DEMSAR[k], abs=1.1e-3
    )


def test_the_critical_difference_separates_as_scikit_posthocs_does() -> None:
    values = np.random.default_rng(5).normal(size=(15, 5)) + np.arange(5) / 3
    p_values = scikit_posthocs.posthoc_nemenyi_friedman(values).to_numpy()
    ranks = mean_ranks(stats.rankdata(values, axis=1)[:, :, None])[:, 0]
    for a, b in combinations(range(5), 2):
        at_the_limit = nemenyi_difference(5, 15, alpha=float(p_values[a, b]))
        assert at_the_limit == pytest.approx(abs(ranks[a] - ranks[b]), rel=1e-6)


def test_bars_are_the_largest_sets_without_a_separated_pair() -> None:
    generator = np.random.default_rng(9)
    for _ in range(20):
        ranks = generator.permutation(7).tolist()
        separated = {pair for pair in combinations(range(7), 2) if generator.random() < 0.5}
        joined = [
            set(group)
            for size in range(2, 8)
            for group in combinations(range(7), size)
            if not separated & set(combinations(group, 2))
        ]
        largest = [group for group in joined if not any(group < other for other in joined)]
        bars = unseparated_groups(ranks, separated)
        assert sorted(map(sorted, bars)) == sorted(map(sorted, largest))


def test_methods_in_a_bar_are_in_the_order_of_their_ranks() -> None:
    assert unseparated_groups([2.0, 3.0, 1.0], set()) == ((2, 0, 1),)


def test_separated_methods_have_no_bar() -> None:
    assert unseparated_groups([1.0, 2.0], {(1, 0)}) == ()


def test_one_method_has_no_critical_difference() -> None:
    with pytest.raises(InvalidValueError, match="Expected 2 methods"):
        nemenyi_difference(1, 21)
