"""IFEVIP, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class IfevipParameters(MethodParameters):
    """Parameters of IFEVIP."""

    largest_share: float = Field(default=0.8, ge=0.0, le=1.0)
    """Largest share of the infrared features that is added to the visible image."""


IFEVIP = MethodSpec(
    title="Infrared feature extraction, visual preservation",
    paper=Paper(
        authors="Zhang, Zhang, Bai & Zhang",
        title=(
            "Infrared and visual image fusion through infrared feature extraction and visual "
            "information preservation"
        ),
        venue="Infrared Physics & Technology",
        year=2017,
        link="https://doi.org/10.1016/j.infrared.2017.05.007",
    ),
    parameters=IfevipParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.ifevip:build_ifevip"),
    ms_per_megapixel=410,
)
