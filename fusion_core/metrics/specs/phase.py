"""Metrics from phase congruency."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

PHASE_CONGRUENCY = Metric(
    name="Qp",
    title="Kept features, from phase congruency",
    score_batch=Deferred("fusion_core.metrics.phase.qp:score_phase_congruency"),
    higher_is_better=True,
    range="about 0..1",
    unit="1",
    paper=Paper(
        authors="Zhao, Laganiere & Liu",
        title=(
            "Performance assessment of combinative pixel-level image fusion based on an absolute "
            "feature measurement"
        ),
        venue="International Journal of Innovative Computing, Information and Control",
        year=2007,
        link="https://github.com/zhengliu6699/imageFusionMetrics",
    ),
    undefined="the image is one pixel wide or high, or no source has a feature",
)
