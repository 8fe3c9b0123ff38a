"""Complete blocks: the pairs, or groups of pairs, over which methods are compared.

Values are arrays of `(pairs, methods, metrics)`, NaN where a metric is undefined or a pair failed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import InvalidValueError

Values = NDArray[np.float64]

_LONGEST_GROUP_OF_SINGLE_FRAMES = 20


def disqualified_methods(failed: NDArray[np.bool_], max_failure_rate: float) -> NDArray[np.bool_]:
    """Mark the methods that failed for too many pairs of a collection.

    They are left out of the comparison, because every pair without a value of one method would be
    lost for all.

    Args:
        failed: `(pairs, methods)`, whether a method has no row with scores for a pair.
        max_failure_rate: Largest share of failed pairs that a method may have, 0..1.

    Returns:
        `(methods,)`, true for the methods to leave out.

    Example:
        >>> disqualified_methods(np.array([[True, False], [True, False]]), 0.5)
        array([ True, False])
    """
    if not len(failed):
        return np.zeros(failed.shape[1], dtype=np.bool_)
    marked: NDArray[np.bool_] = failed.mean(axis=0) > max_failure_rate
    return marked


def complete_blocks(values: Values) -> NDArray[np.bool_]:
    """Mark the blocks in which every method has a value.

    Args:
        values: `(pairs, methods)` or `(pairs, methods, metrics)`.

    Returns:
        `(pairs,)` or `(pairs, metrics)`.

    Example:
        >>> complete_blocks(np.array([[1.0, 2.0], [np.nan, 3.0]]))
        array([ True, False])
    """
    complete: NDArray[np.bool_] = np.logical_not(np.isnan(values).any(axis=1))
    return complete


def keep_complete(values: Values) -> Values:
    """Replace the values of incomplete blocks by NaN, so that methods are compared on equal terms.

    Args:
        values: `(pairs, methods)` or `(pairs, methods, metrics)`.

    Returns:
        The same shape; in each block, and for each metric, all methods have a value or none has.
    """
    return np.where(np.expand_dims(complete_blocks(values), 1), values, np.nan)


def average_groups(values: Values, groups: Sequence[str]) -> tuple[tuple[str, ...], Values]:
    """Average the complete blocks of each group, such as the frames of one video.

    Frames of one sequence depend on each other; tests that take them for independent blocks find
    differences where there are none. The averages of sequences are closer to independent.

    Args:
        values: `(pairs, methods, metrics)`.
        groups: The group of each pair.

    Returns:
        The names of the groups in sorted order, and `(groups, methods, metrics)`, NaN where a group
        has no complete block.

    Example:
        >>> average_groups(np.array([[[1.0]], [[2.0]], [[4.0]]]), ["b", "a", "b"])[1].ravel()
        array([2. , 2.5])
    """
    names, places = group_places(groups, len(values))
    complete = complete_blocks(values)
    counts = np.zeros((len(names), values.shape[2]))
    np.add.at(counts, places, complete.astype(np.float64))
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, places, np.where(complete[:, None], values, 0.0))
    with np.errstate(invalid="ignore"):
        return names, sums / counts[:, None]


def group_places(groups: Sequence[str], pairs: int) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the sorted names of groups, and the place of each pair's group among them.

    Raises:
        InvalidValueError: The number of groups is not that of the pairs.
    """
    if len(groups) != pairs:
        raise InvalidValueError(
            f"Expected one group for each of {pairs} pairs, but got {len(groups)}"
        )
    names = sorted(set(groups))
    number = {name: place for place, name in enumerate(names)}
    return tuple(names), np.array([number[group] for group in groups], dtype=np.intp)


def resemble_sequences(groups: Sequence[str]) -> bool:
    """Return whether groups are so large that they may be videos: more than 20 pairs each.

    One group for the whole collection is none; of several, the median size decides.

    Example:
        >>> resemble_sequences(["day"] * 30 + ["night"] * 40)
        True
    """
    names, places = group_places(groups, len(groups))
    sizes = np.bincount(places, minlength=len(names))
    return len(names) > 1 and float(np.median(sizes)) > _LONGEST_GROUP_OF_SINGLE_FRAMES


def orient(values: Values, higher_is_better: Sequence[bool]) -> Values:
    """Negate the metrics of which a lower value is better.

    Args:
        values: `(..., metrics)`.
        higher_is_better: One direction per metric.

    Returns:
        The same shape; a higher value is better.

    Example:
        >>> orient(np.array([[1.0, 2.0]]), [True, False])
        array([[ 1., -2.]])
    """
    if len(higher_is_better) != values.shape[-1]:
        raise InvalidValueError(
            f"Expected a direction for each of {values.shape[-1]} metrics, "
            f"but got {len(higher_is_better)}"
        )
    return np.where(np.asarray(higher_is_better, dtype=np.bool_), values, -values)
