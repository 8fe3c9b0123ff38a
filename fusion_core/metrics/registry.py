"""The registry of metrics: its order is the order of their columns."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_core.errors import InvalidValueError
from fusion_core.metrics.metric import Metric
from fusion_core.metrics.specs import (
    contrast,
    correlation,
    edges,
    feature_mi,
    information,
    structural,
)
from fusion_core.suggestions import unknown_name

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        information.ENTROPY,
        information.MUTUAL_INFORMATION,
        information.MUTUAL_INFORMATION_AS_PUBLISHED,
        edges.QABF,
        feature_mi.FMI_PIXEL,
        feature_mi.FMI_DCT,
        feature_mi.FMI_WAVELET,
        edges.NABF,
        correlation.SCD,
        structural.SSIM_A,
        structural.MS_SSIM,
        correlation.EDGE_PRESERVATION,
        contrast.STANDARD_DEVIATION,
    )
}


def list_metrics() -> list[str]:
    """Return the names of all metrics, in the order of their columns."""
    return list(METRICS)


def select_metrics(names: Sequence[str] | None = None) -> list[str]:
    """Return metric names in the order of their columns: all of them, or those requested.

    Raises:
        InvalidValueError: A name is not that of a metric.
    """
    if names is None:
        return list(METRICS)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InvalidValueError(unknown_name("metric", unknown[0], METRICS))
    return [name for name in METRICS if name in names]
