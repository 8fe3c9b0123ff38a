from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.cluster import hierarchy

from fusion_core.errors import InvalidValueError
from fusion_core.statistics import cluster_order, correlate_metrics, correlation_matrix

GENERATOR = np.random.default_rng(13)
VALUES = GENERATOR.normal(size=(30, 4, 3))
VALUES[:, :, 1] = -VALUES[:, :, 0] + GENERATOR.normal(size=(30, 4)) / 2
VALUES[:, :, 2] = VALUES[:, :, 2].round(1)
VALUES += 100.0 * GENERATOR.normal(size=(30, 1, 1))  # a pair alone does not change the correlation
DIRECTIONS = [True, False, True]


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_correlations_are_those_of_scipy(gaps: bool) -> None:
    values = VALUES.copy()
    if gaps:
        values[2, 1, 0] = values[7, :, 2] = np.nan
    oriented = values * np.where(DIRECTIONS, 1.0, -1.0)
    for each in correlate_metrics(values, "xyz", DIRECTIONS, {}):
        chosen = oriented[:, :, ["xyz".index(each.metric_a), "xyz".index(each.metric_b)]]
        chosen = chosen[~np.isnan(chosen).any(axis=(1, 2))]
        first, second = (chosen - chosen.mean(axis=1, keepdims=True)).reshape(-1, 2).T
        assert each.n == len(first)
        assert each.spearman == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-9)
        assert each.kendall == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-9)


def test_metrics_that_agree_strongly_are_redundant() -> None:
    values = VALUES.copy()
    values[:, :, 1] = -values[:, :, 0]
    found = correlate_metrics(values, "xyz", DIRECTIONS, {})
    assert found[0].spearman == pytest.approx(1.0, abs=1e-9)
    assert [each.redundant for each in found] == [True, False, False]
    assert not any(each.alias for each in found)


def test_aliases_are_marked_whatever_their_values_are() -> None:
    found = correlate_metrics(VALUES, "xyz", DIRECTIONS, {"x": "origin", "z": "origin"})
    assert [each.alias for each in found] == [False, True, False]
    assert found[1].redundant


def test_a_metric_that_does_not_vary_has_no_correlation() -> None:
    values = VALUES.copy()
    values[:, :, 0] = 1.0
    found = correlate_metrics(values, "xyz", DIRECTIONS, {})
    assert (found[0].spearman, found[0].kendall, found[0].n) == (None, None, 120)
    assert np.isnan(correlation_matrix(found, "xyz")[0, 1:]).all()


def test_the_matrix_is_symmetric_in_the_order_of_the_names() -> None:
    found = correlate_metrics(VALUES, "xyz", DIRECTIONS, {})
    matrix = correlation_matrix(found, "zyx")
    assert np.array_equal(matrix, matrix.T)
    assert matrix[2, 1] == found[0].spearman
    assert np.diag(matrix).tolist() == [1.0] * 3


def test_metrics_are_ordered_so_that_neighbours_are_close() -> None:
    matrix = np.corrcoef(GENERATOR.normal(size=(8, 20)))
    distances = 1.0 - np.abs(matrix[np.triu_indices(8, 1)])
    tree = hierarchy.optimal_leaf_ordering(hierarchy.linkage(distances, "average"), distances)
    assert list(cluster_order(matrix)) == hierarchy.leaves_list(tree).tolist()


def test_missing_correlations_do_not_hinder_the_order() -> None:
    matrix = np.eye(4)
    matrix[0, 1] = matrix[1, 0] = np.nan
    assert sorted(cluster_order(matrix)) == [0, 1, 2, 3]
    assert cluster_order(np.eye(2)) == (0, 1)


def test_a_name_for_each_metric_is_required() -> None:
    with pytest.raises(InvalidValueError, match="Expected 3 names of metrics, but got 2"):
        correlate_metrics(VALUES, "xy", DIRECTIONS, {})
