"""GFF, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class GffParameters(MethodParameters):
    """Parameters of GFF."""

    base_radius: int = Field(default=45, ge=1, le=512)
    """Radius r1 of the guided filter for the weights of the base (Eq. 10)."""
    base_epsilon: float = Field(default=0.3, gt=0.0, le=1e3)
    """Regularisation epsilon1 of that filter, for images in 0..1."""
    detail_radius: int = Field(default=7, ge=1, le=512)
    """Radius r2 of the guided filter for the weights of the detail (Eq. 11)."""
    detail_epsilon: float = Field(default=1e-6, ge=1e-9, le=1e3)
    """Regularisation epsilon2 of that filter, for images in 0..1."""


GFF = MethodSpec(
    title="Guided filtering of weight maps",
    paper=Paper(
        authors="Li, Kang & Hu",
        title="Image Fusion With Guided Filtering",
        venue="IEEE Transactions on Image Processing",
        year=2013,
        link="https://doi.org/10.1109/TIP.2013.2244222",
    ),
    parameters=GffParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.gff:build_gff"),
    ms_per_megapixel=770,
    bytes_per_pixel=500,
)
