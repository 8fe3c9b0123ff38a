"""Comparisons of the published methods on TNO, from their published scores alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from support.reference_data import PAIRS, read_golden

from fusion_core.statistics import (
    Comparison,
    Ranking,
    bootstrap_ranks,
    compare_methods,
    correlate_metrics,
    decide,
    friedman,
    keep_complete,
    leave_one_metric_out,
    mean_ranks,
    metric_agreement,
    nemenyi_difference,
    rank_methods,
    unseparated_groups,
    without_aliases,
)

METHODS = ("cbf", "resnet152", "wls")
METRICS = (
    "EN", "FMI_dct", "FMI_pixel", "FMI_w", "MI_as_published", "MS_SSIM", "Nabf", "Qabf", "SCD",
    "SSIM_a",
)  # fmt: skip
ALIAS_OF = {"MI_as_published": "EN"}
HIGHER_IS_BETTER = [metric != "Nabf" for metric in METRICS]
DIGITS = 6e-4
"""Half a unit of the third decimal, in which the expected values are rounded."""


class Scores(NamedTuple):
    values: NDArray[np.float64]

    def of(self, metric: str) -> NDArray[np.float64]:
        return self.values[:, :, METRICS.index(metric)]


def read_scores(reference: Path, methods: tuple[str, ...]) -> Scores:
    values = np.full((len(PAIRS), len(methods), len(METRICS)), np.nan)
    for row in read_golden(reference):
        if row.method in methods and row.metric in METRICS:
            place = row.pair - 1, methods.index(row.method), METRICS.index(row.metric)
            values[place] = row.value
    return Scores(values)


@pytest.fixture(scope="module")
def scores(shared_reference: Path) -> Scores:
    return read_scores(shared_reference, METHODS)


@pytest.fixture(scope="module")
def four_methods(shared_reference: Path) -> Scores:
    return read_scores(shared_reference, ("vggml", *METHODS))


@pytest.fixture(scope="module")
def ranks(scores: Scores) -> NDArray[np.float64]:
    return rank_methods(scores.values, HIGHER_IS_BETTER)


@pytest.fixture(scope="module")
def counted() -> NDArray[np.bool_]:
    return without_aliases(METRICS, ALIAS_OF)


@pytest.fixture(scope="module")
def ranking(ranks: NDArray[np.float64], counted: NDArray[np.bool_]) -> Ranking:
    return bootstrap_ranks(ranks, counted)


@pytest.fixture(scope="module")
def qabf(scores: Scores) -> dict[tuple[str, str], Comparison]:
    found = compare_methods(scores.of("Qabf"), METHODS, higher_is_better=True)
    return {(each.a, each.b): each for each in found}


@pytest.mark.parametrize(
    ("metric", "chi2"),
    [
        ("EN", 30.095),
        ("Qabf", 19.143),
        ("MS_SSIM", 34.667),
        ("SCD", 40.095),
        ("FMI_dct", 40.095),
        ("FMI_w", 35.524),
    ],
)
def test_friedmans_statistic_of_three_methods(scores: Scores, metric: str, chi2: float) -> None:
    found = friedman(scores.of(metric))
    assert (found.n_blocks, found.k) == (21, 3)
    assert found.chi2 == pytest.approx(chi2, abs=DIGITS)


@pytest.mark.parametrize(
    ("metric", "expected"), [("Qabf", (2.762, 1.762, 1.476)), ("EN", (1.333, 2.952, 1.714))]
)
def test_mean_ranks_of_a_metric(
    ranks: NDArray[np.float64], metric: str, expected: tuple[float, ...]
) -> None:
    found = mean_ranks(ranks)[:, METRICS.index(metric)]
    assert found == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize(
    ("metric", "chi2"), [("SSIM_a", 60.0), ("Nabf", 54.540), ("FMI_pixel", 40.500)]
)
def test_friedmans_statistic_of_four_methods(
    four_methods: Scores, metric: str, chi2: float
) -> None:
    found = friedman(four_methods.of(metric))
    assert (found.n_blocks, found.k) == (20, 4)
    assert found.chi2 == pytest.approx(chi2, abs=DIGITS)


def test_structural_similarity_ranks_four_methods_alike_in_every_block(
    four_methods: Scores,
) -> None:
    found = mean_ranks(rank_methods(four_methods.values, HIGHER_IS_BETTER))
    assert found[:, METRICS.index("SSIM_a")].tolist() == [1.0, 4.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("methods", "p"),
    [(("cbf", "wls"), 2.9e-5), (("cbf", "resnet152"), 5.9e-4), (("resnet152", "wls"), 0.203)],
)
def test_p_values_with_holms_correction(
    qabf: dict[tuple[str, str], Comparison], methods: tuple[str, str], p: float
) -> None:
    assert qabf[methods].exact
    assert qabf[methods].p_holm == pytest.approx(p, rel=0.02)


def test_a_bar_joins_the_methods_that_are_not_separated(
    qabf: dict[tuple[str, str], Comparison], ranks: NDArray[np.float64]
) -> None:
    separated = {
        (a, b)
        for a, b in combinations(range(3), 2)
        if decide(qabf[METHODS[a], METHODS[b]], qabf[METHODS[a], METHODS[b]].p_holm, True) != "none"
    }
    bars = unseparated_groups(mean_ranks(ranks)[:, METRICS.index("Qabf")].tolist(), separated)
    assert [[METHODS[place] for place in bar] for bar in bars] == [["wls", "resnet152"]]


@pytest.mark.parametrize(
    ("methods", "effect"),
    [(("cbf", "wls"), -0.957), (("cbf", "resnet152"), -0.835), (("resnet152", "wls"), -0.325)],
)
def test_rank_biserial_effects(
    qabf: dict[tuple[str, str], Comparison], methods: tuple[str, str], effect: float
) -> None:
    assert qabf[methods].rank_biserial == pytest.approx(effect, abs=DIGITS)


def test_mean_ranks_over_the_metrics_without_aliases(ranking: Ranking) -> None:
    assert ranking.overall is not None
    assert ranking.overall.mean == pytest.approx((2.693, 1.524, 1.783), abs=DIGITS)


def test_mean_ranks_over_all_metrics(ranks: NDArray[np.float64]) -> None:
    assert mean_ranks(ranks).mean(axis=1) == pytest.approx((2.557, 1.667, 1.776), abs=DIGITS)


def test_the_probability_of_being_first(ranking: Ranking) -> None:
    assert ranking.overall is not None
    assert ranking.overall.p_first[1] == pytest.approx(1.0, abs=0.005)


def test_the_winner_does_not_depend_on_any_one_metric(
    ranks: NDArray[np.float64], counted: NDArray[np.bool_]
) -> None:
    winners = leave_one_metric_out(mean_ranks(ranks)[:, counted])
    assert winners.tolist() == [[False] * 9, [True] * 9, [False] * 9]


def test_agreement_of_the_metrics_about_pairs(
    ranks: NDArray[np.float64], counted: NDArray[np.bool_]
) -> None:
    agreement = metric_agreement(ranks[:, :, counted])
    found = agreement.min(), np.median(agreement), agreement.max()
    assert found == pytest.approx((0.037, 0.457, 0.704), abs=DIGITS)
    assert (np.argsort(agreement)[:4] + 1).tolist() == [8, 9, 14, 21]


@pytest.mark.parametrize(
    ("metrics", "rho"),
    [(("EN", "MI_as_published"), 1.0), (("EN", "SSIM_a"), -0.79), (("FMI_w", "SSIM_a"), 0.95)],
)
def test_correlations_of_metrics(scores: Scores, metrics: tuple[str, str], rho: float) -> None:
    found = correlate_metrics(scores.values, METRICS, HIGHER_IS_BETTER, ALIAS_OF)
    (pair,) = [each for each in found if (each.metric_a, each.metric_b) == metrics]
    assert pair.spearman == pytest.approx(rho, abs=0.005)
    assert pair.alias == (metrics == ("EN", "MI_as_published"))
    assert pair.n == 63


@pytest.mark.parametrize(("k", "difference"), [(3, 0.723), (5, 1.331)])
def test_nemenyis_critical_difference(k: int, difference: float) -> None:
    assert nemenyi_difference(k, 21) == pytest.approx(difference, abs=DIGITS)


def test_incomplete_blocks_are_left_out(four_methods: Scores) -> None:
    complete = keep_complete(four_methods.values)
    assert np.isnan(complete[1, :, METRICS.index("SSIM_a")]).all()  # vggml has no pair 2
    assert np.isnan(complete[:, :, METRICS.index("EN")]).all()  # nor the metric EN
