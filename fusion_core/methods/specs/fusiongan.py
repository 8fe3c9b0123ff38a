"""FusionGAN, its parameters and its paper."""

from __future__ import annotations

from fusion_core.choices import OutputRange
from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters


class FusionGanParameters(NetworkParameters):
    """Parameters of FusionGAN."""

    output_range: OutputRange = "minmax"
    """Conversion of the result to 8 bits: scale each image by `minmax`, as in the published code,
    or `clip` at 0 and 255."""


FUSIONGAN = MethodSpec(
    title="FusionGAN generator",
    paper=Paper(
        authors="Ma, Yu, Liang, Li & Jiang",
        title=("FusionGAN: A generative adversarial network for infrared and visible image fusion"),
        venue="Information Fusion",
        year=2019,
        link="https://doi.org/10.1016/j.inffus.2018.09.004",
    ),
    parameters=FusionGanParameters,
    weights=FileWeights(tensors="c1, c2, c3, c4, c5", content="generator"),
    build=Deferred("fusion_core.methods.fusiongan:build_fusiongan"),
    ms_per_megapixel=14000,
    bytes_per_pixel=900,
)
