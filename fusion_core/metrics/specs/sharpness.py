"""Metrics of the fused image's own sharpness."""

from __future__ import annotations

from dataclasses import replace

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

SPATIAL_FREQUENCY = Metric(
    name="SF",
    title="Spatial frequency",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_spatial_frequency"),
    higher_is_better=True,
    range="0..361",
    unit="gray level",
    paper=Paper(
        authors="Eskicioglu & Fisher",
        title="Image quality measures and their performance",
        venue="IEEE Transactions on Communications",
        year=1995,
        link="https://doi.org/10.1109/26.477498",
    ),
    undefined="the image is one pixel wide or high",
    decimals=3,
)
AVERAGE_GRADIENT = Metric(
    name="AG",
    title="Average gradient",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_average_gradient"),
    higher_is_better=True,
    range="0..1020",
    unit="gray level",
    paper=Paper(
        authors="Cui, Feng, Xu, Li & Chen",
        title=(
            "Detail preserved fusion of visible and infrared images using regional saliency "
            "extraction and multi-scale image decomposition"
        ),
        venue="Optics Communications",
        year=2015,
        link="https://doi.org/10.1016/j.optcom.2014.12.032",
    ),
    undefined="the image is one pixel wide or high",
    decimals=3,
)
EDGE_INTENSITY = Metric(
    name="EI",
    title="Edge intensity",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_edge_intensity"),
    higher_is_better=True,
    range="0..1141",
    unit="gray level",
    paper=Paper(
        authors="Zhang, Ye & Xiao",
        title="VIFB: A visible and infrared image fusion benchmark",
        venue="CVPR Workshops",
        year=2020,
        link="https://doi.org/10.1109/CVPRW50498.2020.00060",
    ),
    decimals=3,
)
SPATIAL_FREQUENCY_VIFB = replace(
    SPATIAL_FREQUENCY,
    name="SF_vifb",
    title="Spatial frequency with sums over the number of pixels",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_spatial_frequency_vifb"),
    undefined="",
    dialect_of="SF",
    programs="VIFB, MEFB",
)
AVERAGE_GRADIENT_CDDFUSE = replace(
    AVERAGE_GRADIENT,
    name="AG_cddfuse",
    title="Average gradient with the sum over the number of pixels",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_average_gradient_cddfuse"),
    range="0..255",
    dialect_of="AG",
    programs="CDDFuse, IVIF_ZOO",
)
EDGE_INTENSITY_ZOO = replace(
    EDGE_INTENSITY,
    name="EI_zoo",
    title="Edge intensity with zeros outside the image",
    score_batch=Deferred("fusion_core.metrics.sharpness:score_edge_intensity_zoo"),
    dialect_of="EI",
    programs="IVIF_ZOO",
)
