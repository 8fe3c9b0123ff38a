"""Agreement of metrics about single pairs, and the pairs that are worth looking at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Literal

import numpy as np

from fusion_core.statistics.blocks import Values
from fusion_core.statistics.omnibus import concordance

Reason = Literal["best", "worst", "disputed", "typical", "none"]

_REASONS: tuple[Reason, ...] = ("best", "worst", "disputed", "typical")


def metric_agreement(ranks: Values) -> Values:
    """Compute how far the metrics' rankings of methods agree in each pair: Kendall's W.

    Args:
        ranks: `(pairs, methods, metrics)` of `rank_methods`, of the counted metrics. Metrics
            without ranks in a pair (NaN) are left out of it.

    Returns:
        `(pairs,)`, 0 (the metrics contradict each other) to 1; NaN if fewer than two metrics or
        two methods have ranks, or no metric separates the methods.

    Example:
        >>> metric_agreement(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
        array([0.])
    """
    enough = (~np.isnan(ranks).any(axis=1)).sum(axis=-1) >= 2
    return np.where(enough, concordance(np.swapaxes(ranks, 1, 2)), np.nan)


def pair_ranks(ranks: Values) -> Values:
    """Average the ranks of each method in each pair over the metrics.

    Args:
        ranks: `(pairs, methods, metrics)` of `rank_methods`, of the counted metrics.

    Returns:
        `(pairs, methods)`, 1 is best; NaN where no metric has ranks.
    """
    defined = ~np.isnan(ranks)
    with np.errstate(invalid="ignore"):
        means: Values = np.where(defined, ranks, 0.0).sum(axis=2) / defined.sum(axis=2)
    return means


def pair_quality(oriented: Values) -> Values:
    """Place each pair among all pairs by its scores, averaged over metrics.

    Args:
        oriented: `(pairs, methods, metrics)` of `orient`. To judge one method, pass it alone.

    Returns:
        `(pairs,)`, the mean over metrics of the share of pairs whose mean score over methods is
        lower, ties counted half; 0..1, NaN where no metric is complete.

    Example:
        >>> pair_quality(np.array([[[1.0]], [[5.0]], [[3.0]]])).round(3)
        array([0.167, 0.833, 0.5  ])
    """
    from scipy import stats

    means = oriented.mean(axis=1)
    defined = ~np.isnan(means)
    ranks = stats.rankdata(means, axis=0, nan_policy="omit")
    with np.errstate(invalid="ignore", divide="ignore"):
        places = (ranks - 0.5) / defined.sum(axis=0)
        quality: Values = np.where(defined, places, 0.0).sum(axis=1) / defined.sum(axis=1)
    return quality


def choose_pairs(quality: Values, agreement: Values, count: int) -> tuple[Reason, ...]:
    """Choose pairs to look at: best, worst, disputed and typical ones in turn.

    Best and worst are those of the highest and the lowest quality, disputed ones have the lowest
    agreement of metrics, and typical ones the agreement closest to the median.

    Args:
        quality: `(pairs,)` of `pair_quality`.
        agreement: `(pairs,)` of `metric_agreement`.
        count: Number of pairs to choose.

    Returns:
        Why each pair was chosen, one reason per pair, or `none`.

    Example:
        >>> choose_pairs(np.array([0.1, 0.9, 0.5]), np.array([0.7, 0.8, 0.2]), 3)
        ('worst', 'best', 'disputed')
    """
    reasons: list[Reason] = ["none"] * len(quality)
    candidates: dict[Reason, Iterator[int]] = {
        "best": _in_order(-quality),
        "worst": _in_order(quality),
        "disputed": _in_order(agreement),
        "typical": _in_order(np.abs(agreement - _median(agreement))),
    }
    idle = 0
    for reason in cycle(_REASONS):
        if idle == len(_REASONS) or len(reasons) - reasons.count("none") >= count:
            break
        place = next((p for p in candidates[reason] if reasons[p] == "none"), None)
        idle = idle + 1 if place is None else 0
        if place is not None:
            reasons[place] = reason
    return tuple(reasons)


def _in_order(keys: Values) -> Iterator[int]:
    """Yield the places of keys from the lowest, without NaN; the first of equal ones first."""
    order = np.argsort(keys, kind="stable")
    yield from (int(place) for place in order if not np.isnan(keys[place]))


def _median(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan
