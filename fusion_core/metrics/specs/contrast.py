"""Metrics of the fused image's own contrast."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

STANDARD_DEVIATION = Metric(
    name="SD",
    title="Standard deviation of the gray levels",
    score_batch=Deferred("fusion_core.metrics.contrast:score_standard_deviation"),
    higher_is_better=True,
    range="0..127.5",
    unit="gray level",
    paper=Paper(
        authors="Rao",
        title="In-fibre Bragg grating sensors",
        venue="Measurement Science and Technology",
        year=1997,
        link="https://doi.org/10.1088/0957-0233/8/4/002",
    ),
    decimals=3,
)
