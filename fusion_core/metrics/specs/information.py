"""Metrics from information theory."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

ENTROPY = Metric(
    name="EN",
    title="Entropy",
    score_batch=Deferred("fusion_core.metrics.information.entropy:score_entropy"),
    higher_is_better=True,
    range="0..8",
    unit="bit",
    paper=Paper(
        authors="Roberts, van Aardt & Ahmed",
        title=(
            "Assessment of image fusion procedures using entropy, image quality, "
            "and multispectral classification"
        ),
        venue="Journal of Applied Remote Sensing",
        year=2008,
        link="https://doi.org/10.1117/1.2945910",
    ),
)
MUTUAL_INFORMATION = Metric(
    name="MI",
    title="Mutual information",
    score_batch=Deferred("fusion_core.metrics.information.mutual:score_mutual_information"),
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper=Paper(
        authors="Qu, Zhang & Yan",
        title="Information measure for performance of image fusion",
        venue="Electronics Letters",
        year=2002,
        link="https://doi.org/10.1049/el:20020212",
    ),
)
MUTUAL_INFORMATION_AS_PUBLISHED = Metric(
    name="MI_as_published",
    title="Twice the entropy, printed as MI in the papers' tables",
    score_batch=Deferred(
        "fusion_core.metrics.information.mutual:score_mutual_information_as_published"
    ),
    higher_is_better=True,
    range="0..16",
    unit="bit",
    paper=Paper(
        authors="Song et al.",
        title="Res2NetFuse: A Fusion Method for Infrared and Visible Images",
        venue="arXiv",
        year=2021,
        link="https://arxiv.org/abs/2112.14540",
    ),
)
