"""Metrics from information theory."""

from __future__ import annotations

from dataclasses import replace

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
    alias_of="EN",
)
CROSS_ENTROPY = Metric(
    name="CE",
    title="Cross entropy of the sources and the fused image",
    score_batch=Deferred("fusion_core.metrics.information.entropy:score_cross_entropy"),
    higher_is_better=False,
    range="about -0.5..inf",
    unit="bit",
    paper=Paper(
        authors="Bulanon, Burks & Alchanatis",
        title="Image fusion of visible and thermal images for fruit detection",
        venue="Biosystems Engineering",
        year=2009,
        link="https://doi.org/10.1016/j.biosystemseng.2009.02.009",
    ),
)
NORMALIZED_MUTUAL_INFORMATION = Metric(
    name="NMI",
    title="Normalized mutual information",
    score_batch=Deferred(
        "fusion_core.metrics.information.mutual:score_normalized_mutual_information"
    ),
    higher_is_better=True,
    range="0..2",
    unit="1",
    paper=Paper(
        authors="Hossny, Nahavandi & Creighton",
        title="Comments on Information measure for performance of image fusion",
        venue="Electronics Letters",
        year=2008,
        link="https://doi.org/10.1049/el:20081754",
    ),
    undefined="the fused image and a source are flat",
)
TSALLIS_INFORMATION = Metric(
    name="TE",
    title="Mutual information with Tsallis entropy",
    score_batch=Deferred("fusion_core.metrics.information.tsallis:score_tsallis_information"),
    higher_is_better=True,
    range="0..260",
    unit="1",
    paper=Paper(
        authors="Cvejic, Canagarajah & Bull",
        title="Image fusion metric based on mutual information and Tsallis entropy",
        venue="Electronics Letters",
        year=2006,
        link="https://doi.org/10.1049/el:20060693",
    ),
    decimals=3,
)
NONLINEAR_CORRELATION = Metric(
    name="Qncie",
    title="Nonlinear correlation information entropy",
    score_batch=Deferred("fusion_core.metrics.information.nonlinear:score_nonlinear_correlation"),
    higher_is_better=True,
    range="0.8..1",
    unit="1",
    paper=Paper(
        authors="Wang, Shen & Jin",
        title="Performance evaluation of image fusion techniques",
        venue="Image Fusion: Algorithms and Applications",
        year=2008,
        link="https://doi.org/10.1016/B978-0-12-372529-5.00017-2",
    ),
)
MUTUAL_INFORMATION_VIFB = replace(
    MUTUAL_INFORMATION,
    name="MI_vifb",
    title="Mutual information in nats",
    score_batch=Deferred("fusion_core.metrics.information.mutual:score_mutual_information_in_nats"),
    range="0..11.1",
    unit="nat",
    dialect_of="MI",
    programs="VIFB",
)
MUTUAL_INFORMATION_TANG = replace(
    MUTUAL_INFORMATION,
    name="MI_tang",
    title="Mutual information with levels 254 and 255 merged in the joint histograms",
    score_batch=Deferred("fusion_core.metrics.information.mutual:score_mutual_information_tang"),
    range="0..16.1",
    dialect_of="MI",
    programs="Tang",
)
MUTUAL_INFORMATION_CDDFUSE = replace(
    MUTUAL_INFORMATION_VIFB,
    name="MI_cddfuse",
    title="Mutual information in nats",
    alias_of="MI_vifb",
    dialect_of="MI",
    programs="CDDFuse",
)
NORMALIZED_MUTUAL_INFORMATION_ZOO = replace(
    NORMALIZED_MUTUAL_INFORMATION,
    name="NMI_zoo",
    title="Mutual information over the entropies of the sources",
    score_batch=Deferred(
        "fusion_core.metrics.information.mutual:score_normalized_mutual_information_zoo"
    ),
    undefined="both sources are flat",
    dialect_of="NMI",
    programs="IVIF_ZOO",
)
TSALLIS_INFORMATION_MEFB = replace(
    TSALLIS_INFORMATION,
    name="TE_mefb",
    title="Tsallis divergence with exchanged marginals, which has no meaning",
    score_batch=Deferred("fusion_core.metrics.information.tsallis:score_tsallis_information_mefb"),
    higher_is_better=None,
    range="-inf..inf",
    dialect_of="TE",
    programs="MEFB, zhengliu",
)
