"""Metrics from models of human vision."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

CHEN_BLUM = Metric(
    name="Qcb",
    title="Kept contrast, as seen by humans",
    score_batch=Deferred("fusion_core.metrics.perception.chen_blum:score_chen_blum"),
    higher_is_better=True,
    range="0..1",
    unit="1",
    paper=Paper(
        authors="Chen & Blum",
        title="A new automated quality assessment algorithm for image fusion",
        venue="Image and Vision Computing",
        year=2009,
        link="https://doi.org/10.1016/j.imavis.2007.12.002",
    ),
    undefined="A, B or F is flat",
)
CHEN_VARSHNEY = Metric(
    name="Qcv",
    title="Visible difference from the salient regions of the sources",
    score_batch=Deferred("fusion_core.metrics.perception.chen_varshney:score_chen_varshney"),
    higher_is_better=False,
    range="0..inf",
    unit="squared gray level",
    paper=Paper(
        authors="Chen & Varshney",
        title=(
            "A human perception inspired quality metric for image fusion based on regional "
            "information"
        ),
        venue="Information Fusion",
        year=2007,
        link="https://doi.org/10.1016/j.inffus.2005.10.001",
    ),
    undefined="neither source has an edge",
    decimals=2,
)
VIF = Metric(
    name="VIF",
    title="Visual information fidelity of both sources",
    score_batch=Deferred("fusion_core.metrics.perception.vif:score_vif"),
    higher_is_better=True,
    range="0..inf",
    unit="1",
    paper=Paper(
        authors="Sheikh & Bovik",
        title="Image information and visual quality",
        venue="IEEE TIP",
        year=2006,
        link="https://doi.org/10.1109/TIP.2005.859378",
    ),
    undefined="the image is smaller than 41x41 pixels, or a source is flat",
)
VIFF = Metric(
    name="VIFF",
    title="Visual information fidelity for fusion",
    score_batch=Deferred("fusion_core.metrics.perception.vif:score_viff"),
    higher_is_better=True,
    range="0..inf",
    unit="1",
    paper=Paper(
        authors="Han, Cai, Cao & Xu",
        title="A new image fusion performance metric based on visual information fidelity",
        venue="Information Fusion",
        year=2013,
        link="https://doi.org/10.1016/j.inffus.2011.08.002",
    ),
    undefined="the image is smaller than 41x41 pixels",
)
