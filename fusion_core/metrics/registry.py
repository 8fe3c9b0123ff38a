"""The registry of metrics: its order is the order of their columns."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_core.errors import InvalidValueError
from fusion_core.metrics.base import Metric
from fusion_core.metrics.contrast import STANDARD_DEVIATION
from fusion_core.metrics.correlation import EDGE_PRESERVATION, SCD
from fusion_core.metrics.edges.nabf import NABF
from fusion_core.metrics.edges.qabf import QABF
from fusion_core.metrics.feature_mi.fmi import FMI_DCT, FMI_PIXEL, FMI_WAVELET
from fusion_core.metrics.information import (
    ENTROPY,
    MUTUAL_INFORMATION,
    MUTUAL_INFORMATION_AS_PUBLISHED,
)
from fusion_core.metrics.structural.mef_ssim import MS_SSIM
from fusion_core.metrics.structural.ssim import SSIM_A
from fusion_core.suggestions import unknown_name

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        ENTROPY,
        MUTUAL_INFORMATION,
        MUTUAL_INFORMATION_AS_PUBLISHED,
        QABF,
        FMI_PIXEL,
        FMI_DCT,
        FMI_WAVELET,
        NABF,
        SCD,
        SSIM_A,
        MS_SSIM,
        EDGE_PRESERVATION,
        STANDARD_DEVIATION,
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
