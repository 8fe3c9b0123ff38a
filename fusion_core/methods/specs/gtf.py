"""GTF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class GtfParameters(MethodParameters):
    """Parameters of GTF."""

    weight: float = Field(default=4.0, ge=0.0, le=1e6)
    """Weight lambda of the gradients (Eq. 4)."""


GTF = MethodSpec(
    title="Gradient transfer and total variation",
    paper=Paper(
        authors="Ma, Chen, Li & Huang",
        title=(
            "Infrared and visible image fusion via gradient transfer and total variation "
            "minimization"
        ),
        venue="Information Fusion",
        year=2016,
        link="https://doi.org/10.1016/j.inffus.2016.02.001",
    ),
    parameters=GtfParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.gtf:build_gtf"),
    ms_per_megapixel=2530,
)
