"""How much the best method depends on the choice of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import InvalidValueError
from fusion_core.statistics.blocks import Values
from fusion_core.statistics.resampling import first_shares

_MOST_SUBSETS = 20_000


@dataclass(frozen=True)
class SubsetShares:
    """How often methods win if metrics are chosen differently."""

    subset_size: int
    """Number of metrics that are chosen."""
    subsets: int
    """Number of subsets that were looked at."""
    sampled: bool
    """Whether the subsets are a random sample, because there are too many."""
    shares: Values
    """Per method, the share of the subsets in which it has the best mean rank; the sum is 1."""


def subset_shares(
    means: Values,
    sizes: Sequence[int] = (3, 4, 5),
    *,
    most_subsets: int = _MOST_SUBSETS,
    seed: int = 0,
) -> tuple[SubsetShares, ...]:
    """Let every subset of the metrics decide which method is best.

    The winner of a subset has the lowest mean of its mean ranks; ties share equally.

    Args:
        means: `(methods, metrics)`, mean ranks without NaN; aliases should be left out.
        sizes: Numbers of metrics to choose; sizes beyond the number of metrics are left out.
        most_subsets: Beyond this number, so many subsets are drawn, independently of each other.
        seed: Seed of the draws.

    Example:
        >>> subset_shares(np.array([[1.0, 1.0, 2.0], [2.0, 2.0, 1.0]]), [1])[0].shares.round(3)
        array([0.667, 0.333])
    """
    if np.isnan(means).any():
        raise InvalidValueError("Expected mean ranks of metrics with blocks, but got NaN")
    metrics = means.shape[1]
    found: list[SubsetShares] = []
    for size in sizes:
        if not 1 <= size <= metrics:
            continue
        chosen, sampled = _choose(metrics, size, most_subsets, seed)
        overall = (chosen @ means.T) / size
        found.append(SubsetShares(size, len(chosen), sampled, first_shares(overall)))
    return tuple(found)


def _choose(metrics: int, size: int, most: int, seed: int) -> tuple[Values, bool]:
    """Return subsets as rows of zeros and ones, and whether they are sampled."""
    sampled = math.comb(metrics, size) > most
    places: NDArray[np.intp]
    if sampled:
        keys = np.random.default_rng((seed, size)).random((most, metrics))
        places = np.argpartition(keys, size - 1, axis=1)[:, :size]
    else:
        places = np.array(list(combinations(range(metrics), size)), dtype=np.intp)
    chosen = np.zeros((len(places), metrics))
    np.put_along_axis(chosen, places, 1.0, axis=1)
    return chosen, sampled
