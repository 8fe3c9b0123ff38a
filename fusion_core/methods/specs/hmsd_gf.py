"""HMSD-GF, its parameters and its paper."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class HmsdGfParameters(MethodParameters):
    """Parameters of HMSD-GF."""


HMSD_GF = MethodSpec(
    title="Hybrid multi-scale decomposition with a guided filter",
    paper=Paper(
        authors="Zhou, Dong, Xie & Gao",
        title="Fusion of infrared and visible images for night-vision context enhancement",
        venue="Applied Optics",
        year=2016,
        link="https://doi.org/10.1364/AO.55.006480",
    ),
    parameters=HmsdGfParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.hmsd_gf:build_hmsd_gf"),
    ms_per_megapixel=2550,
    bytes_per_pixel=550,
)
