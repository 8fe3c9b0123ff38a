"""MGFF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class MgffParameters(MethodParameters):
    """Parameters of MGFF."""

    levels: int = Field(default=4, ge=1, le=16)
    """Number of scales."""
    radius: int = Field(default=9, ge=1, le=512)
    """Radius of the guided filter."""
    epsilon: float = Field(default=1000.0, gt=0.0, le=1e9)
    """Regularisation of the guided filter, for images in 0..255."""


MGFF = MethodSpec(
    title="Multi-scale guided filter",
    paper=Paper(
        authors="Bavirisetti, Xiao, Zhao, Dhuli & Liu",
        title="Multi-scale Guided Image and Video Fusion: A Fast and Efficient Approach",
        venue="Circuits, Systems, and Signal Processing",
        year=2019,
        link="https://doi.org/10.1007/s00034-019-01131-z",
    ),
    parameters=MgffParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.mgff:build_mgff"),
    ms_per_megapixel=580,
)
