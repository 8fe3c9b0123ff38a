"""Res2NetFuse, its parameters and its paper."""

from __future__ import annotations

from typing import Literal

from fusion_core.choices import OutputRange, ResidualConvolutions
from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

Strategy = Literal["l1_norm", "mean"]
MeanWeights = Literal["softmax", "ratio"]


class Res2NetFuseParameters(NetworkParameters):
    """Parameters of Res2NetFuse."""

    strategy: Strategy = "mean"
    """Spatial attention by `l1_norm` (Eq. 5-6) or `mean` (Eq. 7-8)."""
    mean_weights: MeanWeights = "softmax"
    """Weights of the strategy `mean`: with `softmax` each mean map is scaled to 0..1 by its minimum
    and maximum, and a soft-max is applied, as in the released code (the default, which reproduces
    the published scores); `ratio` is the formula of Eq. 7."""
    convolutions: ResidualConvolutions = "shared"
    """Convolutions of the Res2Net block: one 3x3 convolution for all six positions (`shared`, the
    default, as in the released code), or six (`separate`, another reading of Table I)."""
    output_range: OutputRange = "minmax"
    """Conversion of the result to 8 bits: `clip` at 0 and 255, or scale each image by `minmax`, as
    in the published code."""


RES2NETFUSE = MethodSpec(
    title="Res2NetFuse autoencoder",
    paper=Paper(
        authors="Song, Wu, Li, Sun & Palade",
        title="Res2NetFuse: A Fusion Method for Infrared and Visible Images",
        venue="arXiv preprint",
        year=2021,
        link="https://arxiv.org/abs/2112.14540",
    ),
    parameters=Res2NetFuseParameters,
    weights=FileWeights(
        tensors="c1, c2, r1, split, r2, d1, d2, d3, d4",
        bundled=lambda parameters: "res2netfuse" if parameters.convolutions == "shared" else None,
    ),
    build=Deferred("fusion_core.methods.res2netfuse:build_res2netfuse"),
    most_sources=None,
    ms_per_megapixel=2073,
    variants=({"strategy": "mean"}, {"strategy": "l1_norm"}),
)
