"""Feature mutual information."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

_HAGHIGHAT_2014 = Paper(
    authors="Haghighat & Razian",
    title="Fast-FMI: Non-reference image fusion metric",
    venue="AICT",
    year=2014,
    link="https://doi.org/10.1109/ICAICT.2014.7036000",
)
FMI_PIXEL = Metric(
    name="FMI_pixel",
    title="Feature mutual information of edges",
    score_batch=Deferred("fusion_core.metrics.feature_mi.fmi:score_fmi_pixel"),
    higher_is_better=True,
    range="about 0..1",
    unit="1",
    paper=_HAGHIGHAT_2014,
    undefined="the image is smaller than 3x3 pixels",
)
FMI_DCT = Metric(
    name="FMI_dct",
    title="Feature mutual information of the cosine transform",
    score_batch=Deferred("fusion_core.metrics.feature_mi.fmi:score_fmi_dct"),
    higher_is_better=True,
    range="about 0..1",
    unit="1",
    paper=_HAGHIGHAT_2014,
    undefined="the image is smaller than 3x3 pixels",
)
FMI_WAVELET = Metric(
    name="FMI_w",
    title="Feature mutual information of the wavelet transform",
    score_batch=Deferred("fusion_core.metrics.feature_mi.fmi:score_fmi_wavelet"),
    higher_is_better=True,
    range="about 0..1",
    unit="1",
    paper=_HAGHIGHAT_2014,
    undefined="the image is smaller than 3x3 pixels",
)
