"""Metrics of edges."""

from __future__ import annotations

from dataclasses import replace

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

QABF = Metric(
    name="Qabf",
    title="Edge information kept from the sources",
    score_batch=Deferred("fusion_core.metrics.edges.qabf:score_qabf"),
    higher_is_better=True,
    range="0..1",
    unit="1",
    paper=Paper(
        authors="Xydeas & Petrovic",
        title="Objective image fusion performance measure",
        venue="Electronics Letters",
        year=2000,
        link="https://doi.org/10.1049/el:20000267",
    ),
    undefined="neither source has an edge",
)
NABF = Metric(
    name="Nabf",
    title="Fusion artefacts, modified",
    score_batch=Deferred("fusion_core.metrics.edges.nabf:score_nabf"),
    higher_is_better=False,
    range="0..1",
    unit="1",
    paper=Paper(
        authors="Shreyamsha Kumar",
        title=(
            "Multifocus and multispectral image fusion based on pixel significance "
            "using discrete cosine harmonic wavelet transform"
        ),
        venue="Signal, Image and Video Processing",
        year=2013,
        link="https://doi.org/10.1007/s11760-012-0361-x",
    ),
    undefined="the image is one pixel wide or high",
    decimals=5,
)
QABF_255 = replace(
    QABF,
    name="Qabf_255",
    title="Qabf of images in 0..255, which most papers print",
    score_batch=Deferred("fusion_core.metrics.edges.qabf:score_qabf_255"),
    dialect_of="Qabf",
    programs="Tang, CDDFuse, IVIF_ZOO",
)
QABF_VIFB = replace(
    QABF,
    name="Qabf_vifb",
    title="Qabf of images in 0..65025",
    score_batch=Deferred("fusion_core.metrics.edges.qabf:score_qabf_vifb"),
    dialect_of="Qabf",
    programs="VIFB, MEFB",
)
