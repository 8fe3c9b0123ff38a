"""Metrics in tables: their headings, and values with the digits that their descriptions state."""

from __future__ import annotations

from fusion_core.metrics import Metric, find_metric

UNDEFINED = "–"
_ARROWS = {True: "↑", False: "↓", None: ""}


def direction_arrow(metric: Metric) -> str:
    """Return an arrow in the direction of better values, nothing if there is none."""
    return _ARROWS[metric.higher_is_better]


def metric_heading(name: str) -> str:
    """Return the name of a metric with an arrow in the direction of better values, if any."""
    metric = find_metric(name)
    return name if metric is None else f"{name}{direction_arrow(metric)}"


def value_text(name: str, value: float | None) -> str:
    """Return a value of a metric, or a statistic in its unit, as all tables print it."""
    metric = find_metric(name)
    decimals = Metric.decimals if metric is None else metric.decimals
    return UNDEFINED if value is None else f"{value:.{decimals}f}"


def percent(share: float) -> str:
    """Return a share in percent, with a decimal only where it matters.

    >>> percent(1.0), percent(0.9996), percent(0.995), percent(0.25), percent(0.0)
    ('100 %', '>99.9 %', '99.5 %', '25 %', '0 %')
    """
    value = 100 * share
    if 99.95 <= value < 100:
        return ">99.9 %"
    if 0 < value < 0.05:
        return "<0.1 %"
    near = 0 < value < 1 or 99 < value < 100
    return f"{value:.{int(near)}f} %"
