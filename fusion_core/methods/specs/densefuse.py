"""DenseFuse, its parameters and its paper."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fusion_core.choices import OutputRange
from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters


class DenseFuseParameters(NetworkParameters):
    """Parameters of DenseFuse."""

    strategy: Literal["addition", "mean", "l1_norm"] = "addition"
    """Fusion layer: `addition` (Eq. 4), `mean` (the same over K), `l1_norm` (Eq. 5-7)."""
    radius: int = Field(default=1, ge=0, le=64)
    """Block radius r of the l1-norm strategy (Eq. 6); 0 in the released code, which has no block
    average."""
    output_range: OutputRange = "minmax"
    """Conversion of the result to 8 bits: `clip` at 0 and 255, or scale each image by `minmax`, as
    in the published code."""


DENSEFUSE = MethodSpec(
    title="DenseFuse autoencoder",
    paper=Paper(
        authors="Li & Wu",
        title="DenseFuse: A Fusion Approach to Infrared and Visible Images",
        venue="IEEE Transactions on Image Processing",
        year=2019,
        link="https://doi.org/10.1109/TIP.2018.2887342",
    ),
    parameters=DenseFuseParameters,
    weights=FileWeights(
        tensors="c1, dc1, dc2, dc3, c2, c3, c4, c5",
        bundled=lambda parameters: "densefuse",
    ),
    build=Deferred("fusion_core.methods.densefuse:build_densefuse"),
    most_sources=None,
    ms_per_megapixel=1145,
    variants=({"strategy": "addition"}, {"strategy": "l1_norm"}),
)
