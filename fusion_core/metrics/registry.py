"""The registry of metrics: its order is the order of their columns."""

from __future__ import annotations

from fusion_core.metrics.metric import Metric
from fusion_core.metrics.specs import (
    contrast,
    correlation,
    edges,
    feature_mi,
    information,
    structural,
)

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
    """Return the names of all metrics and dialects, in the order of their columns."""
    return list(METRICS)
