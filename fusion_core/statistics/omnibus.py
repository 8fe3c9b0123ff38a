"""Whether any methods differ at all: Friedman's test, and Kendall's coefficient of concordance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_core.statistics.blocks import Values, complete_blocks

FEWEST_BLOCKS = 6
"""With fewer blocks, no difference could be significant, and nothing is tested."""


@dataclass(frozen=True)
class Friedman:
    """Result of Friedman's test of one metric."""

    n_blocks: int
    k: int
    """Number of methods."""
    chi2: float | None
    """Statistic, corrected for ties; None if there are fewer than 6 blocks or 2 methods."""
    p: float | None
    """By the chi-squared distribution with `k - 1` degrees of freedom."""
    kendall_w: float | None
    """Agreement of the blocks on the ranks of the methods, 0..1: the size of the effect."""


def friedman(values: Values) -> Friedman:
    """Test whether methods differ in one metric, with ties (Friedman 1937).

    M. Friedman, The Use of Ranks to Avoid the Assumption of Normality Implicit in the Analysis of
    Variance, Journal of the American Statistical Association 32(200), 1937,
    doi:10.1080/01621459.1937.10503522.

    Args:
        values: `(blocks, methods)`; blocks with NaN are left out.

    Returns:
        The test; if all values within each block are equal, p = 1 and W = 0.

    Example:
        >>> friedman(np.tile([3.0, 1.0, 2.0], (6, 1))).kendall_w
        1.0
    """
    from scipy import stats

    complete = values[complete_blocks(values)]
    n_blocks, k = complete.shape
    if n_blocks < FEWEST_BLOCKS or k < 2:
        return Friedman(n_blocks, k, None, None, None)
    agreement = float(concordance(stats.rankdata(complete, axis=1)))
    if np.isnan(agreement):
        return Friedman(n_blocks, k, 0.0, 1.0, 0.0)
    chi2 = n_blocks * (k - 1) * agreement
    return Friedman(n_blocks, k, chi2, float(stats.chi2.sf(chi2, k - 1)), agreement)


def concordance(ranks: Values) -> Values:
    """Compute Kendall's coefficient of concordance W, corrected for ties.

    M. G. Kendall and B. Babington Smith, The Problem of m Rankings, Annals of Mathematical
    Statistics 10(3), 1939, doi:10.1214/aoms/1177732186. Written as the sum of squares between
    objects over its largest possible value, which includes the correction for ties.

    Args:
        ranks: `(..., judges, objects)`, average ranks; judges whose ranks are NaN are left out.

    Returns:
        `(...)`, from 0 (no agreement) to 1 (all rank alike); NaN if no judge separates objects.

    Example:
        >>> concordance(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]))
        array(0.75)
    """
    judged = np.logical_not(np.isnan(ranks).any(axis=-1))
    judges, middle = judged.sum(axis=-1), (ranks.shape[-1] + 1) / 2.0
    deviations = np.where(judged[..., None], ranks - middle, 0.0)
    between = (deviations.sum(axis=-2) ** 2).sum(axis=-1)
    most = judges * (deviations**2).sum(axis=(-2, -1))
    agreement = np.full(most.shape, np.nan)
    np.divide(between, most, out=agreement, where=most > 0.0)
    return agreement
