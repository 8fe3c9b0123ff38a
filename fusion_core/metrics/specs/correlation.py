"""Metrics from correlation."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

SCD = Metric(
    name="SCD",
    title="Sum of the correlations of differences",
    score_batch=Deferred("fusion_core.metrics.correlation:score_scd"),
    higher_is_better=True,
    range="-2..2",
    unit="1",
    paper=Paper(
        authors="Aslantas & Bendes",
        title=(
            "A new image quality metric for image fusion: The sum of the "
            "correlations of differences"
        ),
        venue="AEU",
        year=2015,
        link="https://doi.org/10.1016/j.aeue.2015.09.004",
    ),
    undefined="a source, or its difference from the fused image, is flat",
)
EDGE_PRESERVATION = Metric(
    name="EPI_a",
    title="Mean edge preservation index",
    score_batch=Deferred("fusion_core.metrics.correlation:score_edge_preservation"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=Paper(
        authors="Sattar, Floreby, Salomonsson & Lovstrom",
        title="Image enhancement based on a nonlinear multiscale method",
        venue="IEEE TIP",
        year=1997,
        link="https://doi.org/10.1109/83.585239",
    ),
    undefined="the Laplacian of a source or of the fused image is flat",
)
CORRELATION = Metric(
    name="CC",
    title="Mean correlation with both sources",
    score_batch=Deferred("fusion_core.metrics.correlation:score_correlation"),
    higher_is_better=True,
    range="-1..1",
    unit="1",
    paper=Paper(
        authors="Ma, Ma & Li",
        title="Infrared and visible image fusion methods and applications: A survey",
        venue="Information Fusion",
        year=2019,
        link="https://doi.org/10.1016/j.inffus.2018.02.004",
    ),
    undefined="a source or the fused image is flat",
)
