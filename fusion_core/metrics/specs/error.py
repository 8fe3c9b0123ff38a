"""Metrics of the error of the fused image against its sources."""

from __future__ import annotations

from dataclasses import replace

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

_JAGALINGAM_2015 = Paper(
    authors="Jagalingam & Hegde",
    title="A review of quality metrics for fused image",
    venue="Aquatic Procedia",
    year=2015,
    link="https://doi.org/10.1016/j.aqpro.2015.02.019",
)
MEAN_SQUARED_ERROR = Metric(
    name="MSE",
    title="Mean squared error against both sources on 0..1",
    score_batch=Deferred("fusion_core.metrics.error:score_mean_squared_error"),
    higher_is_better=False,
    range="0..1",
    unit="1",
    paper=_JAGALINGAM_2015,
    decimals=5,
)
ROOT_MEAN_SQUARED_ERROR = Metric(
    name="RMSE",
    title="Root mean squared error against both sources",
    score_batch=Deferred("fusion_core.metrics.error:score_root_mean_squared_error"),
    higher_is_better=False,
    range="0..255",
    unit="gray level",
    paper=_JAGALINGAM_2015,
    decimals=3,
)
PEAK_SIGNAL_TO_NOISE = Metric(
    name="PSNR",
    title="Peak signal-to-noise ratio against both sources",
    score_batch=Deferred("fusion_core.metrics.error:score_peak_signal_to_noise_ratio"),
    higher_is_better=True,
    range="0..inf",
    unit="dB",
    paper=_JAGALINGAM_2015,
    undefined="A, B and F are equal, so that it is infinite",
    decimals=3,
)
MEAN_SQUARED_ERROR_CDDFUSE = replace(
    MEAN_SQUARED_ERROR,
    name="MSE_cddfuse",
    title="Mean squared error against both sources on 0..255",
    score_batch=Deferred("fusion_core.metrics.error:score_mean_squared_error_of_levels"),
    range="0..65025",
    unit="squared gray level",
    dialect_of="MSE",
    programs="CDDFuse",
    decimals=2,
)
ROOT_MEAN_SQUARED_ERROR_VIFB = replace(
    ROOT_MEAN_SQUARED_ERROR,
    name="RMSE_vifb",
    title="Root mean squared error over the root of the number of pixels",
    score_batch=Deferred("fusion_core.metrics.error:score_root_mean_squared_error_vifb"),
    dialect_of="RMSE",
    programs="VIFB",
    decimals=5,
)
PEAK_SIGNAL_TO_NOISE_VIFB = replace(
    PEAK_SIGNAL_TO_NOISE,
    name="PSNR_vifb",
    title="Peak signal over RMSE_vifb, which grows with the size of the image",
    score_batch=Deferred("fusion_core.metrics.error:score_peak_signal_to_noise_ratio_vifb"),
    range="24..inf",
    dialect_of="PSNR",
    programs="VIFB, MEFB",
)
PEAK_SIGNAL_TO_NOISE_TANG = replace(
    PEAK_SIGNAL_TO_NOISE,
    name="PSNR_tang",
    title="PSNR with a peak of 255 for images in 0..1, higher by 48.13",
    score_batch=Deferred("fusion_core.metrics.error:score_peak_signal_to_noise_ratio_tang"),
    range="48.1..inf",
    dialect_of="PSNR",
    programs="Tang, IVIF_ZOO",
)
PEAK_SIGNAL_TO_NOISE_CDDFUSE = replace(
    PEAK_SIGNAL_TO_NOISE,
    name="PSNR_cddfuse",
    title="PSNR with the brightest level of the fused image as peak",
    score_batch=Deferred("fusion_core.metrics.error:score_peak_signal_to_noise_ratio_cddfuse"),
    range="-inf..inf",
    undefined="F is black, or A, B and F are equal, so that it is infinite",
    dialect_of="PSNR",
    programs="CDDFuse",
)
