"""How metrics agree with each other: correlations of differences between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fusion_core.errors import InvalidValueError
from fusion_core.statistics.aliases import original_of
from fusion_core.statistics.blocks import Values, complete_blocks, keep_complete, orient

_REDUNDANT = 0.9


@dataclass(frozen=True)
class MetricCorrelation:
    """Correlation of two metrics, both so that a higher value is better."""

    metric_a: str
    metric_b: str
    spearman: float | None
    """Rank correlation, -1..1; None where a metric does not vary or there are too few values."""
    kendall: float | None
    """Kendall's tau-b, -1..1."""
    n: int
    """Number of values: blocks with both metrics, times methods."""
    alias: bool
    """Whether the two are one metric under two names."""

    @property
    def redundant(self) -> bool:
        """Whether one metric adds little to the other: an alias, or |rho| > 0.9."""
        return self.alias or (self.spearman is not None and abs(self.spearman) > _REDUNDANT)


def correlate_metrics(
    values: Values,
    names: Sequence[str],
    higher_is_better: Sequence[bool],
    alias_of: Mapping[str, str],
) -> tuple[MetricCorrelation, ...]:
    """Correlate every two metrics over methods and blocks.

    Values are centred per block, so that what correlates is how metrics judge methods, not how
    images differ; metrics of which a lower value is better are negated. Spearman's rho: C. Spearman
    1904, doi:10.2307/1412159; Kendall's tau-b: M. G. Kendall 1938, doi:10.1093/biomet/30.1-2.81.

    Args:
        values: `(blocks, methods, metrics)`; incomplete blocks of a metric are left out.
        names: The names of the metrics.
        higher_is_better: One direction per metric.
        alias_of: The metric that has the same values, for each metric that is an alias.

    Returns:
        One correlation for each two metrics, in the order of the names.
    """
    if len(names) != values.shape[-1]:
        raise InvalidValueError(
            f"Expected {values.shape[-1]} names of metrics, but got {len(names)}"
        )
    blocks = centre_blocks(values, higher_is_better)
    complete = complete_blocks(blocks)
    ranks = _ranks_of_all(blocks)
    found: list[MetricCorrelation] = []
    for a, b in combinations(range(len(names)), 2):
        both = complete[:, a] & complete[:, b]
        whole = bool((both == complete[:, a]).all() and (both == complete[:, b]).all())
        first, second = (blocks[both, :, metric].ravel() for metric in (a, b))
        ranked = [ranks[both, :, m].ravel() for m in (a, b)] if whole else None
        alias = original_of(names[a], alias_of) == original_of(names[b], alias_of)
        rho, tau = _correlate(first, second, ranked)
        found.append(MetricCorrelation(names[a], names[b], rho, tau, len(first), alias))
    return tuple(found)


def centre_blocks(values: Values, higher_is_better: Sequence[bool]) -> Values:
    """Subtract from each value the mean over the methods in its block, better values higher.

    Args:
        values: `(blocks, methods, metrics)`.
        higher_is_better: One direction per metric.

    Returns:
        The same shape, NaN in incomplete blocks.
    """
    oriented = orient(keep_complete(values), higher_is_better)
    centred: Values = oriented - oriented.mean(axis=1, keepdims=True)
    return centred


def correlation_matrix(correlations: Sequence[MetricCorrelation], names: Sequence[str]) -> Values:
    """Return Spearman's correlations as a symmetric matrix in the order of the names.

    Returns:
        `(metrics, metrics)`, 1 on the diagonal, NaN where there is no correlation.
    """
    place = {name: index for index, name in enumerate(names)}
    matrix = np.eye(len(names))
    for each in correlations:
        a, b = place[each.metric_a], place[each.metric_b]
        matrix[a, b] = matrix[b, a] = np.nan if each.spearman is None else each.spearman
    return matrix


def cluster_order(matrix: Values) -> tuple[int, ...]:
    """Order metrics so that those that correlate, with either sign, lie next to each other.

    Average linkage of the distances 1 - |rho|, with the best order of the leaves (Z. Bar-Joseph,
    D. K. Gifford and T. S. Jaakkola, Fast Optimal Leaf Ordering for Hierarchical Clustering,
    Bioinformatics 17(suppl. 1), 2001, doi:10.1093/bioinformatics/17.suppl_1.S22).

    Args:
        matrix: `(metrics, metrics)`, symmetric; NaN counts as no correlation.

    Example:
        >>> cluster_order(np.array([[1.0, 0.1, -0.9], [0.1, 1.0, 0.0], [-0.9, 0.0, 1.0]]))
        (1, 0, 2)
    """
    if len(matrix) < 3:
        return tuple(range(len(matrix)))
    from scipy.cluster import hierarchy

    distances = 1.0 - np.abs(np.nan_to_num(matrix))[np.triu_indices(len(matrix), 1)]
    tree = hierarchy.linkage(np.maximum(distances, 0.0), "average", optimal_ordering=True)
    return tuple(int(leaf) for leaf in hierarchy.leaves_list(tree))


def _ranks_of_all(blocks: Values) -> Values:
    """Rank the values of each metric over all its complete blocks."""
    from scipy import stats

    flat = blocks.reshape(-1, blocks.shape[-1])
    ranks: Values = stats.rankdata(flat, axis=0, nan_policy="omit").reshape(blocks.shape)
    return ranks


def _correlate(
    first: Values, second: Values, ranked: Sequence[Values] | None
) -> tuple[float | None, float | None]:
    """Compute Spearman's and Kendall's correlations; the ranks may be known already."""
    if len(first) < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return None, None
    from scipy import stats

    a, b = ranked or (stats.rankdata(first), stats.rankdata(second))
    tau = float(stats.kendalltau(first, second).statistic)
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0)), tau
