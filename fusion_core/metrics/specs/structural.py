"""Metrics of structural similarity."""

from __future__ import annotations

from dataclasses import replace

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
_PIELLA_2003 = Paper(
    authors="Piella & Heijmans",
    title="A new quality metric for image fusion",
    venue="ICIP",
    year=2003,
    link="https://doi.org/10.1109/ICIP.2003.1247209",
)
MS_SSIM_WANG = Metric(
    name="MS_SSIM_wang",
    title="Mean multi-scale structural similarity to both sources",
    score_batch=Deferred("fusion_core.metrics.structural.ms_ssim:score_multi_scale_ssim"),
    higher_is_better=True,
    range="0..1",
    unit="1",
    paper=Paper(
        authors="Wang, Simoncelli & Bovik",
        title="Multiscale structural similarity for image quality assessment",
        venue="Asilomar",
        year=2003,
        link="https://doi.org/10.1109/ACSSC.2003.1292216",
    ),
    undefined="the image is smaller than 161x161 pixels",
)
PIELLA_Q = Metric(
    name="Qs",
    title="Similarity to the more salient source",
    score_batch=Deferred("fusion_core.metrics.structural.piella:score_piella_q"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=_PIELLA_2003,
    undefined="the image is smaller than 11x11 pixels",
)
PIELLA_WEIGHTED = Metric(
    name="Qw",
    title="Similarity to the more salient source, weighted by saliency",
    score_batch=Deferred("fusion_core.metrics.structural.piella:score_piella_weighted"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=_PIELLA_2003,
    undefined="the image is smaller than 11x11 pixels, or both sources are flat",
)
PIELLA_EDGES = Metric(
    name="Qe",
    title="Qw times Qw of edge images",
    score_batch=Deferred("fusion_core.metrics.structural.piella:score_piella_edges"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=_PIELLA_2003,
    undefined="the image is smaller than 11x11 pixels, or both sources or their edges are flat",
)
YANG = Metric(
    name="Qy",
    title="Similarity to both sources where they are alike, and to the better one elsewhere",
    score_batch=Deferred("fusion_core.metrics.structural.flat_windows:score_yang"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=Paper(
        authors="Yang, Zhang, Wang & Pei",
        title="A novel similarity based quality metric for image fusion",
        venue="Information Fusion",
        year=2008,
        link="https://doi.org/10.1016/j.inffus.2006.09.001",
    ),
    undefined="the image is smaller than 7x7 pixels, or both sources are flat",
)
CVEJIC = Metric(
    name="Qc",
    title="Similarity to the source with the larger covariance",
    score_batch=Deferred("fusion_core.metrics.structural.flat_windows:score_cvejic"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=Paper(
        authors="Cvejic, Loza, Bull & Canagarajah",
        title="A similarity metric for assessment of image fusion algorithms",
        venue="International Journal of Signal Processing",
        year=2005,
        link="https://publications.waset.org/1046/a-similarity-metric-for-assessment-of-image-fusion-algorithms",
    ),
    undefined="the image is smaller than 7x7 pixels, or F has no covariance with its sources",
)
SSIM_VIFB = replace(
    SSIM_A,
    name="SSIM_vifb",
    title="Sum of both similarities, inside the image",
    score_batch=Deferred("fusion_core.metrics.structural.ssim_dialects:score_ssim_vifb"),
    range="-2..2",
    undefined="the image is smaller than 11x11 pixels",
    dialect_of="SSIM_a",
    programs="VIFB",
)
SSIM_TANG = replace(
    SSIM_A,
    name="SSIM_tang",
    title="SSIM_a with constants for images in 0..1",
    score_batch=Deferred("fusion_core.metrics.structural.ssim_dialects:score_ssim_tang"),
    dialect_of="SSIM_a",
    programs="Tang",
)
SSIM_ZOO = replace(
    SSIM_VIFB,
    name="SSIM_zoo",
    title="SSIM_vifb with constants for images in 0..1",
    score_batch=Deferred("fusion_core.metrics.structural.ssim_dialects:score_ssim_zoo"),
    dialect_of="SSIM_a",
    programs="IVIF_ZOO",
)
SSIM_CDDFUSE = replace(
    SSIM_VIFB,
    name="SSIM_cddfuse",
    title="Sum of both similarities in boxes, with constants for images in -1..1",
    score_batch=Deferred("fusion_core.metrics.structural.ssim_dialects:score_ssim_cddfuse"),
    undefined="the image is smaller than 7x7 pixels",
    dialect_of="SSIM_a",
    programs="CDDFuse",
)
MS_SSIM_ZOO = replace(
    MS_SSIM_WANG,
    name="MS_SSIM_zoo",
    title="Sum of both multi-scale similarities with constants for images in 0..1",
    score_batch=Deferred("fusion_core.metrics.structural.ms_ssim:score_multi_scale_ssim_zoo"),
    range="0..2",
    dialect_of="MS_SSIM_wang",
    programs="IVIF_ZOO",
)
PIELLA_EDGE_FACTOR = replace(
    PIELLA_WEIGHTED,
    name="Qw_mefb",
    title="Qw of edge images",
    score_batch=Deferred("fusion_core.metrics.structural.piella:score_piella_edge_factor"),
    undefined="the image is smaller than 11x11 pixels, or the edges of both sources are flat",
    dialect_of="Qw",
    programs="MEFB",
)
CVEJIC_MEFB = replace(
    CVEJIC,
    name="Qc_mefb",
    title="Qc with the result clipped, which depends on the order of A and B",
    score_batch=Deferred("fusion_core.metrics.structural.flat_windows:score_cvejic_mefb"),
    higher_is_better=None,
    dialect_of="Qc",
    programs="MEFB, zhengliu",
)
