"""CBF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class CbfParameters(MethodParameters):
    """Parameters of CBF."""

    radius: int = Field(default=5, ge=1, le=64)
    """Radius of the windows of the cross bilateral filter."""
    sigma_space: float = Field(default=1.8, ge=0.1, le=1e3)
    """Standard deviation of its spatial kernel in pixels."""
    sigma_range: float = Field(default=25.0, ge=0.1, le=1e4)
    """Standard deviation of its range kernel in gray levels."""


CBF = MethodSpec(
    title="Cross bilateral filter",
    paper=Paper(
        authors="Kumar",
        title="Image fusion based on pixel significance using cross bilateral filter",
        venue="Signal, Image and Video Processing",
        year=2015,
        link="https://doi.org/10.1007/s11760-013-0556-9",
    ),
    parameters=CbfParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.cbf:build_cbf"),
    ms_per_megapixel=610,
)
