"""MSDNet, its parameters and its paper."""

from __future__ import annotations

from typing import Literal

from fusion_core.choices import OutputRange
from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

Strategy = Literal["addition", "mean", "l1_norm"]


class MsdNetParameters(NetworkParameters):
    """Parameters of MSDNet."""

    strategy: Strategy = "mean"
    """Fusion layer: `addition`, `mean` (the same over K), or `l1_norm`, weights by the magnitude of
    the features at each pixel."""
    output_range: OutputRange = "minmax"
    """Conversion of the result to 8 bits: scale each image by `minmax`, as in the published code,
    or `clip` at 0 and 255."""


MSDNET = MethodSpec(
    title="MSDNet autoencoder",
    paper=Paper(
        authors="Song, Wu & Li",
        title="MSDNet for Medical Image Fusion",
        venue="International Conference on Image and Graphics",
        year=2019,
        link="https://doi.org/10.1007/978-3-030-34110-7_24",
    ),
    parameters=MsdNetParameters,
    weights=FileWeights(
        tensors="c1, dc1, dc2, dc3, m1, m3, m5, c2, c3, c4, c5",
        bundled=lambda parameters: "msdnet",
    ),
    build=Deferred("fusion_core.methods.msdnet:build_msdnet"),
    most_sources=None,
    ms_per_megapixel=9300,
    bytes_per_pixel=500,
    variants=({"strategy": "mean"}, {"strategy": "l1_norm"}),
)
