"""Corrections of p-values for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_core.statistics.blocks import Values


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust p-values so that any wrong rejection among all tests is rare (Holm 1979).

    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6(2), 1979, https://www.jstor.org/stable/4615733.

    Args:
        p_values: 0..1, or None where nothing was tested, which is not counted.

    Returns:
        Adjusted p-values in the same order; at most 1, and None where nothing was tested.

    Example:
        >>> holm([0.02, None, 0.01])
        (0.02, None, 0.02)
    """
    tested = _tested(p_values)
    order = np.argsort(tested, kind="stable")
    factors = np.arange(len(tested), 0, -1)
    adjusted = np.empty_like(tested)
    adjusted[order] = np.minimum(np.maximum.accumulate(tested[order] * factors), 1.0)
    return _in_place(p_values, adjusted)


def benjamini_hochberg(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust p-values so that few of the rejections are wrong (Benjamini and Hochberg 1995).

    Y. Benjamini and Y. Hochberg, Controlling the False Discovery Rate, Journal of the Royal
    Statistical Society B 57(1), 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.

    Args:
        p_values: 0..1, or None where nothing was tested, which is not counted.

    Returns:
        Adjusted p-values in the same order; at most 1, and None where nothing was tested.

    Example:
        >>> benjamini_hochberg([0.02, None, 0.01])
        (0.02, None, 0.02)
    """
    from scipy import stats

    tested = _tested(p_values)
    if not len(tested):
        return tuple(p_values)
    return _in_place(p_values, stats.false_discovery_control(tested, method="bh"))


def _tested(p_values: Sequence[float | None]) -> Values:
    return np.array([p for p in p_values if p is not None], dtype=np.float64)


def _in_place(p_values: Sequence[float | None], adjusted: Values) -> tuple[float | None, ...]:
    """Put adjusted p-values where something was tested."""
    values = iter(adjusted.tolist())
    return tuple(None if p is None else next(values) for p in p_values)
