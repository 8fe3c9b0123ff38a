"""Metrics in tables: their headings, and values with the digits that their descriptions state."""

from __future__ import annotations

from fusion_core.metrics import METRICS, Metric

UNDEFINED = "–"
_ARROWS = {True: "↑", False: "↓", None: ""}


def direction_arrow(metric: Metric) -> str:
    """Return an arrow in the direction of better values, nothing if there is none."""
    return _ARROWS[metric.higher_is_better]


def metric_heading(name: str) -> str:
    """Return the name of a metric with an arrow in the direction of better values, if any."""
    metric = METRICS.get(name)
    return name if metric is None else f"{name}{direction_arrow(metric)}"


def value_text(name: str, value: float | None) -> str:
    """Return a value of a metric, or a statistic in its unit, as all tables print it."""
    decimals = METRICS[name].decimals if name in METRICS else Metric.decimals
    return UNDEFINED if value is None else f"{value:.{decimals}f}"
