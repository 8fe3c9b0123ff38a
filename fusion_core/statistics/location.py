"""The Hodges-Lehmann estimate of a typical difference, with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fusion_core.errors import InvalidValueError
from fusion_core.statistics.blocks import Values
from fusion_core.statistics.walsh import select_walsh_sum
from fusion_core.statistics.wilcoxon import MOST_EXACT


@dataclass(frozen=True)
class TypicalDifference:
    """Hodges-Lehmann estimate with a confidence interval."""

    estimate: float
    low: float | None
    """Lower end; None if there are too few differences for the confidence."""
    high: float | None
    """Upper end."""


def hodges_lehmann(differences: Values, confidence: float = 0.95) -> TypicalDifference:
    """Estimate the center of differences by the median of their Walsh averages.

    J. L. Hodges and E. L. Lehmann, Estimates of Location Based on Rank Tests, Annals of
    Mathematical Statistics 34(2), 1963, doi:10.1214/aoms/1177704172. Walsh averages are the means
    of any two differences, and of each with itself. The interval contains the centers that
    Wilcoxon's signed-rank test does not reject: its ends are the Walsh averages at the critical
    values of the exact distribution for up to 50 differences, and of its normal approximation
    beyond (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 2013, section 3.3,
    doi:10.1002/9781119196037). With ties, the interval is wider than necessary.

    The averages are selected without forming them all: 15,000 differences have 112 million.

    Args:
        differences: `(n,)`, finite, at least one.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        InvalidValueError: There are no differences, or some are not finite.

    Example:
        >>> hodges_lehmann(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])).estimate
        3.5
    """
    if not len(differences) or not np.isfinite(differences).all():
        raise InvalidValueError(f"Expected one or more finite differences, but got {differences}")
    ordered = np.sort(differences)
    pairs = len(ordered) * (len(ordered) + 1) // 2
    lower, upper = (select_walsh_sum(ordered, rank) for rank in ((pairs + 1) // 2, pairs // 2 + 1))
    critical = critical_rank(len(ordered), confidence)
    if critical < 1:
        return TypicalDifference((lower + upper) / 4.0, None, None)
    low, high = (select_walsh_sum(ordered, rank) for rank in (critical, pairs + 1 - critical))
    return TypicalDifference((lower + upper) / 4.0, low / 2.0, high / 2.0)


def critical_rank(n: int, confidence: float) -> int:
    """Return the rank of the Walsh average at which the interval of `n` differences starts.

    Returns:
        1 or more; 0 if even the smallest Walsh average gives less than the confidence.

    Example:
        >>> critical_rank(21, 0.95), critical_rank(5, 0.95)
        (59, 0)
    """
    tail = (1.0 - confidence) / 2.0
    if n > MOST_EXACT:
        from scipy import special

        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24.0)
        return max(0, math.floor(n * (n + 1) / 4.0 + float(special.ndtri(tail)) * spread))
    cumulative = np.cumsum(_signed_rank_probabilities(n))
    return int(np.searchsorted(cumulative, tail, side="right"))


def _signed_rank_probabilities(n: int) -> Values:
    """Return the probability of each sum of positive ranks, 0 to n (n + 1) / 2."""
    probabilities = np.ones(1)
    for rank in range(1, n + 1):
        wider = np.zeros(len(probabilities) + rank)
        wider[: len(probabilities)] += probabilities
        wider[rank:] += probabilities
        probabilities = wider / 2.0
    return probabilities
