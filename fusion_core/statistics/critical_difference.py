"""What a critical-difference diagram shows: methods that tests do not separate."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from fusion_core.errors import InvalidValueError


def unseparated_groups(
    mean_ranks: Sequence[float], separated: Collection[tuple[int, int]]
) -> tuple[tuple[int, ...], ...]:
    """Return the largest sets of methods of which no two are separated, one bar each.

    Bars join methods that pairwise tests with Holm's correction do not separate (A. Benavoli,
    G. Corani and F. Mangili, Should We Really Use Post-Hoc Tests Based on Mean-Ranks?, Journal of
    Machine Learning Research 17(5), 2016, https://jmlr.org/papers/v17/benavoli16a.html), not
    methods within a fixed distance. They are the maximal cliques of the graph of methods that are
    not separated (C. Bron and J. Kerbosch, Algorithm 457, Communications of the ACM 16(9), 1973,
    doi:10.1145/362342.362367). A bar may span a method that it does not join.

    Args:
        mean_ranks: One per method.
        separated: Pairs of places of methods that a test separates, in either order.

    Returns:
        Places of two or more methods each, best rank first; the bars in the same order.

    Example:
        >>> unseparated_groups([3.0, 1.0, 2.0], {(0, 1)})
        ((1, 2), (2, 0))
    """
    import networkx

    order = sorted(range(len(mean_ranks)), key=lambda place: (mean_ranks[place], place))
    position = {place: index for index, place in enumerate(order)}
    graph = networkx.Graph()
    graph.add_nodes_from(order)
    graph.add_edges_from(
        (a, b)
        for a in order
        for b in order
        if a < b and (a, b) not in separated and (b, a) not in separated
    )
    bars = [sorted(position[place] for place in clique) for clique in networkx.find_cliques(graph)]
    return tuple(tuple(order[index] for index in bar) for bar in sorted(bars) if len(bar) > 1)


def nemenyi_difference(k: int, n_blocks: int, alpha: float = 0.05) -> float:
    """Compute Nemenyi's critical difference of mean ranks, a ruler for the diagram.

    J. Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, Journal of Machine
    Learning Research 7, 2006, section 3.2.2, https://jmlr.org/papers/v7/demsar06a.html.

    Args:
        k: Number of methods, at least 2.
        n_blocks: Number of blocks.
        alpha: Significance level.

    Example:
        >>> round(nemenyi_difference(3, 21), 3)
        0.723
    """
    if k < 2 or n_blocks < 1:
        raise InvalidValueError(
            f"Expected 2 methods and 1 block or more, but got {k} and {n_blocks}"
        )
    from scipy import stats

    quantile = float(stats.studentized_range.ppf(1.0 - alpha, k, math.inf))
    return quantile / math.sqrt(2.0) * math.sqrt(k * (k + 1) / (6.0 * n_blocks))
