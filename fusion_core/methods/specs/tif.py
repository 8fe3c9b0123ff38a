"""TIF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class TifParameters(MethodParameters):
    """Parameters of TIF."""

    radius: int = Field(default=17, ge=1, le=512)
    """Radius of the windows whose means are the base."""


TIF = MethodSpec(
    title="Two-scale image fusion by saliency",
    paper=Paper(
        authors="Bavirisetti & Dhuli",
        title=("Two-scale image fusion of visible and infrared images using saliency detection"),
        venue="Infrared Physics & Technology",
        year=2016,
        link="https://doi.org/10.1016/j.infrared.2016.01.009",
    ),
    parameters=TifParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.tif:build_tif"),
    ms_per_megapixel=350,
)
