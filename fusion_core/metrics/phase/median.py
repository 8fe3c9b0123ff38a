"""The median of many numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.compiled import dispatch

_SAMPLE = 4096
_DEVIATIONS = 4.0
"""Distance of the bounds from the median of the sample, in its standard deviations."""


def median(values: Tensor) -> float | Tensor:
    """Return the median of `(N,)` float64: the mean of the two middle ones if N is even.

    It stays on other devices than the CPU, so that the host does not wait for it.
    """
    if dispatch.use_kernels(values):
        return _median_on_cpu(values.numpy())
    middle = (len(values) + 1) // 2
    lower, upper = (values.kthvalue(k).values for k in (middle, len(values) // 2 + 1))
    return (lower + upper) * 0.5


def _median_on_cpu(values: NDArray[np.float64]) -> float:
    """Look only at what lies between bounds, which a sample gives."""
    from fusion_core.metrics.phase.kernels import collect_between

    sample = np.sort(values[:: max(1, values.size // _SAMPLE)])
    margin = math.ceil(_DEVIATIONS * 0.5 * math.sqrt(sample.size))
    low = sample[max(sample.size // 2 - margin, 0)]
    high = sample[min(sample.size // 2 + margin, sample.size - 1)]
    between = np.empty_like(values)
    below, count = collect_between(values, low, high, between)
    first, second = (values.size - 1) // 2 - below, values.size // 2 - below
    if first < 0 or second >= count:  # the sample was no fair one
        return float(np.median(values))
    middle = np.partition(between[:count], (first, second))
    return float(0.5 * (middle[first] + middle[second]))
