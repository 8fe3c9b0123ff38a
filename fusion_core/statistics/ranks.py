"""Average ranks of methods per metric and over metrics, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import InvalidValueError
from fusion_core.statistics.blocks import Values, orient
from fusion_core.statistics.resampling import first_shares, interval, is_lowest, resampled_sums


@dataclass(frozen=True)
class RankIntervals:
    """Mean ranks of methods with intervals; each array has one value per method."""

    mean: Values
    """Mean rank; 1 is best."""
    low: Values
    """Lower end of the bootstrap interval."""
    high: Values
    """Upper end of the bootstrap interval."""
    p_first: Values
    """Share of resamples in which the method has the best mean rank; ties share equally."""


@dataclass(frozen=True)
class Ranking:
    """Ranks of methods by each metric, and by all metrics that are counted."""

    metrics: tuple[RankIntervals | None, ...]
    """One per metric; None for a metric without blocks."""
    overall: RankIntervals | None
    """Of the mean over the counted metrics; None if none of them has blocks."""


def rank_methods(values: Values, higher_is_better: Sequence[bool]) -> Values:
    """Rank the methods within each block by each metric; ties get their average rank.

    Args:
        values: `(blocks, methods, metrics)`.
        higher_is_better: One direction per metric.

    Returns:
        `(blocks, methods, metrics)`, 1 for the best method; NaN in blocks in which a method has no
        value.

    Example:
        >>> rank_methods(np.array([[[5.0], [7.0], [5.0]]]), [True]).ravel()
        array([2.5, 1. , 2.5])
    """
    from scipy import stats

    ranks: Values = stats.rankdata(-orient(values, higher_is_better), axis=1)
    return ranks


def mean_ranks(ranks: Values) -> Values:
    """Average ranks over blocks.

    Args:
        ranks: `(blocks, methods, metrics)`, NaN in incomplete blocks.

    Returns:
        `(methods, metrics)`, NaN for metrics without blocks.
    """
    defined = ~np.isnan(ranks)
    with np.errstate(invalid="ignore"):
        means: Values = np.where(defined, ranks, 0.0).sum(axis=0) / defined.sum(axis=0)
    return means


def bootstrap_ranks(
    ranks: Values,
    counted: NDArray[np.bool_],
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Ranking:
    """Average ranks, with percentile intervals over resampled blocks (Efron 1979).

    The same resamples of blocks serve all methods and metrics, so that dependences between them are
    kept. If pairs were averaged within groups, the blocks are the groups, and this is the cluster
    bootstrap. Sums of ranks are exact: the result does not depend on the order of computation.

    Args:
        ranks: `(blocks, methods, metrics)` of `rank_methods`.
        counted: `(metrics,)`, the metrics of the overall mean; see `without_aliases`.
        resamples: Number of resamples.
        seed: Seed of the draws.
        confidence: Coverage of the intervals.
    """
    blocks, methods, metrics = ranks.shape
    if counted.shape != (metrics,):
        raise InvalidValueError(f"Expected a mark for each of {metrics} metrics, but got {counted}")
    means = mean_ranks(ranks)
    known = np.logical_not(np.isnan(means).any(axis=0))
    if not known.any():
        return Ranking((None,) * metrics, None)
    defined = ~np.isnan(ranks[:, 0, :])
    columns = np.hstack([np.nan_to_num(ranks).reshape(blocks, -1), defined])
    sums = resampled_sums(columns, resamples, seed)
    totals = sums[:, : methods * metrics].reshape(resamples, methods, metrics)
    with np.errstate(invalid="ignore"):
        drawn = totals / sums[:, None, methods * metrics :]
    per_metric = tuple(
        _intervals(means[:, metric], drawn[:, :, metric], confidence) if known[metric] else None
        for metric in range(metrics)
    )
    used = counted & known
    if not used.any():
        return Ranking(per_metric, None)
    overall = means[:, used].mean(axis=1)
    return Ranking(per_metric, _intervals(overall, drawn[:, :, used].mean(axis=2), confidence))


def leave_one_metric_out(means: Values) -> NDArray[np.bool_]:
    """Find the best methods over all metrics but one, for each metric that may be left out.

    Args:
        means: `(methods, metrics)` of the counted metrics, at least two, without NaN.

    Returns:
        `(methods, metrics)`: whether a method has the best mean rank without this metric; several
        have it if they tie.

    Example:
        >>> leave_one_metric_out(np.array([[1.0, 2.0, 1.0], [2.0, 1.0, 2.0]]))[1]
        array([ True, False,  True])
    """
    if means.shape[1] < 2:
        raise InvalidValueError(f"Expected at least two metrics, but got {means.shape[1]}")
    others = means.sum(axis=1, keepdims=True) - means
    return is_lowest(others.T / (means.shape[1] - 1)).T


def _intervals(mean: Values, drawn: Values, confidence: float) -> RankIntervals:
    """Describe resampled mean ranks, `(resamples, methods)`."""
    ends = np.array([interval(column, confidence) for column in drawn.T])
    return RankIntervals(mean, ends[:, 0], ends[:, 1], first_shares(drawn))
