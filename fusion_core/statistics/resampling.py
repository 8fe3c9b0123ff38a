"""Resamples of blocks with replacement, and intervals of means over whole groups of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fusion_core.statistics.blocks import Values, group_places

_DRAWS_AT_ONCE = 1 << 20


def draw_weights(units: int, resamples: int, seed: int) -> Iterator[Values]:
    """Yield how often each unit occurs in resamples with replacement (Efron 1979).

    B. Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 7(1), 1979,
    doi:10.1214/aos/1176344552.

    Args:
        units: Number of pairs or groups.
        resamples: Number of resamples.
        seed: Seed of the draws; the same arguments give the same weights.

    Yields:
        `(some resamples, units)`, whole numbers; few enough rows to need little memory.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // max(1, units))
    for start in range(0, resamples, rows):
        number = min(rows, resamples - start)
        drawn = generator.integers(0, units, (number, units))
        drawn += np.arange(number)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=number * units)
        yield counts.reshape(number, units).astype(np.float64)


def resampled_sums(columns: Values, resamples: int, seed: int) -> Values:
    """Sum columns over resampled rows.

    Args:
        columns: `(units, columns)` without NaN. All columns are resampled jointly.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        `(resamples, columns)`.
    """
    return np.concatenate(
        [weights @ columns for weights in draw_weights(len(columns), resamples, seed)]
    )


def cluster_intervals(
    values: Values,
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[tuple[float, float] | None]:
    """Return percentile intervals of means by the cluster bootstrap (Field and Welsh 2007).

    Whole groups are drawn instead of pairs, because pairs of one group, such as the frames of a
    video, are not independent. The mean of a resample is that over all pairs of the drawn groups.

    C. A. Field and A. H. Welsh, Bootstrapping Clustered Data, Journal of the Royal Statistical
    Society B 69(3), 2007, doi:10.1111/j.1467-9868.2007.00593.x.

    Args:
        values: `(pairs, columns)`, NaN where a value is undefined.
        groups: The group of each pair.
        resamples: Number of resamples.
        seed: Seed of the draws.
        confidence: Coverage of the intervals.

    Returns:
        Lower and upper end for each column; None where fewer than two groups have a value.

    Example:
        >>> cluster_intervals(np.array([[1.0], [1.0], [3.0], [3.0]]), ["a", "a", "b", "b"])
        [(1.0, 3.0)]
    """
    names, places = group_places(groups, len(values))
    defined = ~np.isnan(values)
    totals = np.zeros((len(names), 2 * values.shape[1]))
    np.add.at(totals, places, np.hstack([np.where(defined, values, 0.0), defined]))
    if not len(names):
        return [None] * values.shape[1]
    sums, counts = np.hsplit(resampled_sums(totals, resamples, seed), 2)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    known = (np.hsplit(totals, 2)[1] > 0).sum(axis=0)
    return [
        interval(means[:, column], confidence) if known[column] >= 2 else None
        for column in range(values.shape[1])
    ]


def interval(estimates: Values, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of resampled estimates, without those that are NaN."""
    ends = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
    low, high = np.quantile(estimates[~np.isnan(estimates)], ends)
    return float(low), float(high)


def first_shares(estimates: NDArray[np.float64]) -> Values:
    """Return how often each column has the lowest value; ties share equally.

    Args:
        estimates: `(rows, columns)`; rows with NaN are left out.

    Returns:
        `(columns,)`, with the sum 1.
    """
    rows = estimates[~np.isnan(estimates).any(axis=1)]
    if not len(rows):
        return np.full(estimates.shape[1], np.nan)
    lowest = is_lowest(rows)
    shares: Values = (lowest / lowest.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def is_lowest(estimates: Values) -> NDArray[np.bool_]:
    """Mark the lowest values of each row, also where rounding separates equal mean ranks."""
    lowest: NDArray[np.bool_] = estimates <= estimates.min(axis=-1, keepdims=True) + 1e-9
    return lowest
