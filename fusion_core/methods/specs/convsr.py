"""ConvSR, its parameters and its paper."""

from __future__ import annotations

from typing import Literal

from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters

Mode = Literal["modal", "focus"]


class ConvsrParameters(MethodParameters):
    """Parameters of ConvSR."""

    mode: Mode = "modal"
    """Fusion rule: `modal`, for infrared and visible images, averages the bases; `focus`, for
    multi-focus images, takes the base of the more active source. Published pictures of infrared and
    visible images exist in both."""


CONVSR = MethodSpec(
    title="Convolutional sparse representation",
    paper=Paper(
        authors="Liu, Chen, Ward & Wang",
        title="Image Fusion With Convolutional Sparse Representation",
        venue="IEEE Signal Processing Letters",
        year=2016,
        link="https://doi.org/10.1109/LSP.2016.2618776",
    ),
    parameters=ConvsrParameters,
    weights=FileWeights(
        tensors="dictionary of shape (32, 8, 8)",
        bundled=lambda parameters: "convsr",
        content="dictionary",
    ),
    build=Deferred("fusion_core.methods.convsr:build_convsr"),
    ms_per_megapixel=200000,
    bytes_per_pixel=2400,
    variants=({"mode": "modal"}, {"mode": "focus"}),
)
