"""Metrics that have the same values, or the same order of values, under two names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def without_aliases(names: Sequence[str], alias_of: Mapping[str, str]) -> NDArray[np.bool_]:
    """Mark the metrics to count where several metrics are averaged, each fact once.

    Of metrics that are aliases of each other, the one that the others name is counted if it is
    among the names, and otherwise the first in alphabetical order.

    Args:
        names: The metrics.
        alias_of: The metric that has the same values, for each metric that is an alias.

    Returns:
        `(metrics,)`, true for the metrics to count.

    Example:
        >>> without_aliases(["MI_as_published", "EN"], {"MI_as_published": "EN"})
        array([False,  True])
    """
    counted: dict[str, str] = {}
    for name in sorted(names):
        original = original_of(name, alias_of)
        counted.setdefault(original, name)
        if name == original:
            counted[original] = name
    return np.array(
        [counted[original_of(name, alias_of)] == name for name in names], dtype=np.bool_
    )


def original_of(name: str, alias_of: Mapping[str, str]) -> str:
    """Follow aliases to the metric that is none.

    Example:
        >>> original_of("c", {"c": "b", "b": "a"})
        'a'
    """
    seen = {name}
    while (target := alias_of.get(name, "")) and target not in seen:
        seen.add(target)
        name = target
    return name
