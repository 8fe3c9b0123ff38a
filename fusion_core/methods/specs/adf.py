"""ADF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class AdfParameters(MethodParameters):
    """Parameters of ADF."""

    steps: int = Field(default=10, ge=0, le=1000)
    """Steps of the anisotropic diffusion."""


ADF = MethodSpec(
    title="Anisotropic diffusion and Karhunen-Loeve transform",
    paper=Paper(
        authors="Bavirisetti & Dhuli",
        title=(
            "Fusion of Infrared and Visible Sensor Images Based on Anisotropic Diffusion and "
            "Karhunen-Loeve Transform"
        ),
        venue="IEEE Sensors Journal",
        year=2016,
        link="https://doi.org/10.1109/JSEN.2015.2478655",
    ),
    parameters=AdfParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.adf:build_adf"),
    ms_per_megapixel=710,
)
