"""FPDE, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class FpdeParameters(MethodParameters):
    """Parameters of FPDE."""

    steps: int = Field(default=15, ge=0, le=1000)
    """Steps of the fourth-order diffusion."""


FPDE = MethodSpec(
    title="Fourth-order diffusion and Karhunen-Loeve transform",
    paper=Paper(
        authors="Bavirisetti, Xiao & Liu",
        title="Multi-sensor image fusion based on fourth order partial differential equations",
        venue="International Conference on Information Fusion",
        year=2017,
        link="https://doi.org/10.23919/ICIF.2017.8009719",
    ),
    parameters=FpdeParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.fpde:build_fpde"),
    ms_per_megapixel=600,
)
