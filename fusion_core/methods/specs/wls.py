"""WLS, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class WlsParameters(MethodParameters):
    """Parameters of WLS."""

    smoothness: float = Field(default=0.01, ge=0.0, le=1e6)
    """Weight lambda with which details follow those of the visible image."""


WLS = MethodSpec(
    title="Visual saliency and weighted least squares",
    paper=Paper(
        authors="Ma, Zhou, Wang & Zong",
        title=(
            "Infrared and visible image fusion based on visual saliency map and weighted least "
            "square optimization"
        ),
        venue="Infrared Physics & Technology",
        year=2017,
        link="https://doi.org/10.1016/j.infrared.2017.02.005",
    ),
    parameters=WlsParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.wls:build_wls"),
    ms_per_megapixel=1540,
)
