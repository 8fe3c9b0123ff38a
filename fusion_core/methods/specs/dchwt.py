"""DCHWT, its parameters and its paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters


class DchwtParameters(MethodParameters):
    """Parameters of DCHWT."""

    levels: int = Field(default=3, ge=1, le=8)
    """Levels of the wavelet transform; fewer for images of less than 2 ** levels pixels."""


DCHWT = MethodSpec(
    title="Discrete cosine harmonic wavelet transform",
    paper=Paper(
        authors="Kumar",
        title=(
            "Multifocus and multispectral image fusion based on pixel significance using discrete "
            "cosine harmonic wavelet transform"
        ),
        venue="Signal, Image and Video Processing",
        year=2013,
        link="https://doi.org/10.1007/s11760-012-0361-x",
    ),
    parameters=DchwtParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.dchwt:build_dchwt"),
    ms_per_megapixel=240,
)
