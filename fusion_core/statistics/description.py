"""Descriptive statistics of a metric over many pairs, with bootstrap intervals of the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class Statistics(BaseModel):
    """Statistics of one metric over the pairs of a subset for which it is defined."""

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float | None = None
    std: float | None = None
    """Sample standard deviation (n - 1)."""
    min: float | None = None
    q25: float | None = None
    median: float | None = None
    q75: float | None = None
    max: float | None = None
    ci_low: float | None = None
    """Lower end of the 95 % percentile bootstrap interval of the mean."""
    ci_high: float | None = None


def describe(
    values: NDArray[np.float64], interval: tuple[float, float] | None = None
) -> Statistics:
    """Describe the values of one metric, without undefined values (NaN)."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Statistics(count=0)
    mean, std = float(defined.mean()), float(defined.std(ddof=1)) if len(defined) > 1 else None
    # Last, because it sorts the values in place.
    q25, median, q75 = (
        float(q) for q in np.quantile(defined, (0.25, 0.5, 0.75), overwrite_input=True)
    )
    return Statistics(
        count=len(defined),
        mean=mean,
        std=std,
        min=float(defined.min()),
        q25=q25,
        median=median,
        q75=q75,
        max=float(defined.max()),
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
    )
