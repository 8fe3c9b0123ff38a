"""Metrics of structural similarity."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

SSIM_A = Metric(
    name="SSIM_a",
    title="Mean structural similarity to both sources",
    score_batch=Deferred("fusion_core.metrics.structural.ssim:score_ssim_a"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=Paper(
        authors="Li & Wu",
        title="DenseFuse: A Fusion Approach to Infrared and Visible Images",
        venue="IEEE TIP",
        year=2019,
        link="https://doi.org/10.1109/TIP.2018.2887342",
    ),
)
MS_SSIM = Metric(
    name="MS_SSIM",
    title="Structural similarity for multi-exposure fusion, three scales",
    score_batch=Deferred("fusion_core.metrics.structural.mef_ssim:score_mef_ssim"),
    higher_is_better=True,
    range="0..1",
    unit="1",
    paper=Paper(
        authors="Ma, Zeng & Wang",
        title="Perceptual quality assessment for multi-exposure image fusion",
        venue="IEEE TIP",
        year=2015,
        link="https://doi.org/10.1109/TIP.2015.2442920",
    ),
    undefined="the image is smaller than 41x41 pixels, or F opposes its sources at a scale",
)
