"""Comparison of two methods by one metric: test, effect size, typical difference, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from fusion_core.errors import InvalidValueError
from fusion_core.statistics.blocks import Values, complete_blocks
from fusion_core.statistics.corrections import holm
from fusion_core.statistics.location import hodges_lehmann
from fusion_core.statistics.wilcoxon import signed_rank

Verdict = Literal["a", "b", "none"]

_MANY_BLOCKS = 1000
_SMALL_EFFECT = 0.1


@dataclass(frozen=True)
class Comparison:
    """Two methods compared by one metric. Differences are the first minus the second."""

    a: str
    b: str
    n: int
    """Number of blocks in which every compared method has a value."""
    wins_a: int
    """Blocks in which the first method is better."""
    ties: int
    wins_b: int
    median_difference: float | None
    """None without blocks, as the other numbers."""
    hl_estimate: float | None
    """Hodges-Lehmann estimate of the difference."""
    hl_low: float | None
    """Lower end of its confidence interval; None if there are too few blocks."""
    hl_high: float | None
    rank_biserial: float | None
    """Matched-pairs rank-biserial correlation, -1..1; positive if the first has higher values."""
    w: float | None
    """Statistic of Wilcoxon's signed-rank test; None if there are fewer than 6 blocks."""
    p: float | None
    p_holm: float | None
    """Corrected for all pairs of methods that were compared by this metric."""
    exact: bool
    """Whether the p-value is exact, not by the normal approximation."""


def compare_methods(
    values: Values, labels: Sequence[str], higher_is_better: bool, *, alpha: float = 0.05
) -> tuple[Comparison, ...]:
    """Compare every two methods by one metric.

    Args:
        values: `(blocks, methods)`; blocks in which a method has no value (NaN) are left out.
        labels: The names of the methods.
        higher_is_better: Direction of the metric.
        alpha: One minus the coverage of the confidence intervals.

    Returns:
        One comparison for each two methods, in the order of the labels, with Holm's correction.

    Example:
        >>> compare_methods(np.array([[1.0, 2.0]] * 6), ["x", "y"], False)[0].wins_a
        6
    """
    if len(labels) != values.shape[1]:
        raise InvalidValueError(
            f"Expected {values.shape[1]} names of methods, but got {len(labels)}"
        )
    complete = values[complete_blocks(values)]
    found = [
        _compare(complete[:, a] - complete[:, b], (labels[a], labels[b]), higher_is_better, alpha)
        for a, b in combinations(range(len(labels)), 2)
    ]
    corrected = holm([comparison.p for comparison in found])
    return tuple(replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True))


def decide(
    comparison: Comparison, p: float | None, higher_is_better: bool, alpha: float = 0.05
) -> Verdict:
    """Return which method is better, if that is established.

    With more than 1,000 blocks the smallest difference is significant; the effect must then be at
    least small too: |r| >= 0.1 (J. Cohen, A Power Primer, Psychological Bulletin 112(1), 1992,
    doi:10.1037/0033-2909.112.1.155).

    Args:
        comparison: Two methods compared by one metric.
        p: Its p-value, corrected as the reader chose; None if nothing was tested.
        higher_is_better: Direction of the metric.
        alpha: Significance level.
    """
    effect = comparison.rank_biserial
    if p is None or p > alpha or not effect:
        return "none"
    if comparison.n > _MANY_BLOCKS and abs(effect) < _SMALL_EFFECT:
        return "none"
    return "a" if (effect > 0.0) == higher_is_better else "b"


def _compare(
    differences: Values, labels: tuple[str, str], higher_is_better: bool, alpha: float
) -> Comparison:
    """Compare two methods by their differences, without correction."""
    test = signed_rank(differences)
    typical = hodges_lehmann(differences, 1.0 - alpha) if test.n else None
    higher, lower = int((differences > 0.0).sum()), int((differences < 0.0).sum())
    wins_a, wins_b = (higher, lower) if higher_is_better else (lower, higher)
    return Comparison(
        a=labels[0],
        b=labels[1],
        n=test.n,
        wins_a=wins_a,
        ties=test.n - higher - lower,
        wins_b=wins_b,
        median_difference=float(np.median(differences)) if test.n else None,
        hl_estimate=typical.estimate if typical else None,
        hl_low=typical.low if typical else None,
        hl_high=typical.high if typical else None,
        rank_biserial=test.rank_biserial,
        w=test.w,
        p=test.p,
        p_holm=None,
        exact=test.exact,
    )
