"""Selection among the sums of all pairs of numbers without forming them all."""

from __future__ import annotations

import struct

import numpy as np

from fusion_core.compiled.compiling import compiled
from fusion_core.statistics.blocks import Values

_SUMS_AT_ONCE = 1 << 16


def select_walsh_sum(ordered: Values, rank: int) -> float:
    """Return the sum of two numbers, or of one with itself, that has a rank among all such sums.

    Bisects for the value, counting the sums below it in one walk through the sorted numbers
    (compare D. B. Johnson and T. Mizoguchi, Selecting the Kth Element in X + Y and X1 + X2 + ... +
    Xm, SIAM Journal on Computing 7(2), 1978, doi:10.1137/0207013), until the sums that are left can
    be sorted. It is exact, also where many sums are equal.

    Args:
        ordered: `(n,)`, in ascending order, finite.
        rank: From 1 to n (n + 1) / 2.

    Example:
        >>> select_walsh_sum(np.array([1.0, 2.0, 4.0]), 3)  # of 2, 3, 4, 5, 6, 8
        4.0
    """
    low, high = np.nextafter(2.0 * ordered[0], -np.inf), 2.0 * ordered[-1]
    below, until = 0, len(ordered) * (len(ordered) + 1) // 2
    by_value = True
    while until - below > _SUMS_AT_ONCE:
        middle = (low + high) / 2.0 if by_value else _middle_float(low, high)
        by_value = not by_value  # halving the values alone is slow close to zero
        if not low < middle < high:
            if np.nextafter(low, np.inf) >= high:
                return float(high)
            continue
        count = count_walsh_sums(ordered, middle)
        if count < rank:
            low, below = middle, count
        else:
            high, until = middle, count
    sums = np.empty(until - below)
    collect_walsh_sums(ordered, low, high, sums)
    return float(np.partition(sums, rank - below - 1)[rank - below - 1])


@compiled
def count_walsh_sums(ordered: Values, limit: float) -> int:
    """Count the sums of two numbers, or of one with itself, that are at most a limit."""
    count, last = 0, len(ordered) - 1
    for first in range(len(ordered)):
        while last >= first and ordered[first] + ordered[last] > limit:
            last -= 1
        if last < first:
            break
        count += last - first + 1
    return count


@compiled
def collect_walsh_sums(ordered: Values, low: float, high: float, sums: Values) -> None:
    """Write the sums that are more than one limit and at most another into an array."""
    place, start, last = 0, len(ordered), len(ordered) - 1
    for first in range(len(ordered)):
        while last >= first and ordered[first] + ordered[last] > high:
            last -= 1
        while start > first and ordered[first] + ordered[start - 1] > low:
            start -= 1
        for second in range(max(start, first), last + 1):
            sums[place] = ordered[first] + ordered[second]
            place += 1


def _middle_float(low: float, high: float) -> float:
    """Return the number that has as many floating-point numbers below as above it."""
    middle = (_position(low) + _position(high)) // 2
    bits = middle if middle >= 0 else -(1 << 63) - middle
    (number,) = struct.unpack("<d", struct.pack("<q", bits))
    return float(number)


def _position(number: float) -> int:
    """Return the place of a finite number in the order of floating-point numbers."""
    (bits,) = struct.unpack("<q", struct.pack("<d", number))
    return int(bits) if bits >= 0 else -(1 << 63) - int(bits)
