"""The registry of metrics: its order is the order of their columns."""

from __future__ import annotations

from fusion_core.errors import InvalidValueError
from fusion_core.metrics.libraries.measures import LIBRARY_METRICS
from fusion_core.metrics.metric import Metric
from fusion_core.metrics.specs import (
    contrast,
    correlation,
    edges,
    error,
    feature_mi,
    information,
    perception,
    phase,
    reference,
    sharpness,
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
        information.CROSS_ENTROPY,
        information.NORMALIZED_MUTUAL_INFORMATION,
        information.TSALLIS_INFORMATION,
        information.NONLINEAR_CORRELATION,
        error.MEAN_SQUARED_ERROR,
        error.ROOT_MEAN_SQUARED_ERROR,
        error.PEAK_SIGNAL_TO_NOISE,
        correlation.CORRELATION,
        sharpness.SPATIAL_FREQUENCY,
        sharpness.AVERAGE_GRADIENT,
        sharpness.EDGE_INTENSITY,
        structural.MS_SSIM_WANG,
        structural.PIELLA_Q,
        structural.PIELLA_WEIGHTED,
        structural.PIELLA_EDGES,
        structural.YANG,
        structural.CVEJIC,
        perception.CHEN_BLUM,
        perception.CHEN_VARSHNEY,
        perception.VIF,
        perception.VIFF,
        phase.PHASE_CONGRUENCY,
        # Dialects
        information.MUTUAL_INFORMATION_VIFB,
        information.MUTUAL_INFORMATION_TANG,
        information.MUTUAL_INFORMATION_CDDFUSE,
        information.NORMALIZED_MUTUAL_INFORMATION_ZOO,
        information.TSALLIS_INFORMATION_MEFB,
        edges.QABF_255,
        edges.QABF_VIFB,
        structural.SSIM_VIFB,
        structural.SSIM_TANG,
        structural.SSIM_ZOO,
        structural.SSIM_CDDFUSE,
        structural.MS_SSIM_ZOO,
        structural.PIELLA_EDGE_FACTOR,
        structural.CVEJIC_MEFB,
        error.MEAN_SQUARED_ERROR_CDDFUSE,
        error.ROOT_MEAN_SQUARED_ERROR_VIFB,
        error.PEAK_SIGNAL_TO_NOISE_VIFB,
        error.PEAK_SIGNAL_TO_NOISE_TANG,
        error.PEAK_SIGNAL_TO_NOISE_CDDFUSE,
        sharpness.SPATIAL_FREQUENCY_VIFB,
        sharpness.AVERAGE_GRADIENT_CDDFUSE,
        sharpness.EDGE_INTENSITY_ZOO,
        # Against a reference image
        reference.SSIM_REF,
        reference.PSNR_REF,
        reference.MSE_REF,
        reference.VIF_REF,
    )
}


_OWN: dict[str, Metric] = {}
"""Metrics of the user's own that this process has met."""


def adopt_metric(metric: Metric) -> None:
    """Let this process know a metric of the user's own by the name of its column."""
    _OWN[metric.name] = metric


def find_metric(name: str) -> Metric | None:
    """Return the metric with this column.

    It is one of irfuse, a measure of another library, or one of the user's own that was adopted.

    >>> find_metric("EN").title
    'Entropy'
    """
    return METRICS.get(name) or LIBRARY_METRICS.get(name) or _OWN.get(name)


def get_metric(name: str) -> Metric:
    """Return the metric with this column.

    Raises:
        InvalidValueError: There is none that this process knows.
    """
    metric = find_metric(name)
    if metric is None:
        raise InvalidValueError(unknown_name("metric", name, METRICS))
    return metric


def list_metrics() -> list[str]:
    """Return the names of all metrics and dialects in the order of their columns."""
    return list(METRICS)
