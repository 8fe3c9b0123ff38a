"""DeepFuse, its parameters and its paper."""

from __future__ import annotations

from fusion_core.choices import OutputRange
from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters


class DeepFuseParameters(NetworkParameters):
    """Parameters of DeepFuse."""

    output_range: OutputRange = "minmax"
    """Conversion of the result to 8 bits: scale each image by `minmax`, as in the published code,
    because the training leaves the level of the result open, or `clip` at 0 and 255."""


DEEPFUSE = MethodSpec(
    title="DeepFuse autoencoder",
    paper=Paper(
        authors="Prabhakar, Srikar & Babu",
        title=(
            "DeepFuse: A Deep Unsupervised Approach for Exposure Fusion with Extreme Exposure "
            "Image Pairs"
        ),
        venue="IEEE International Conference on Computer Vision",
        year=2017,
        link="https://doi.org/10.1109/ICCV.2017.505",
    ),
    parameters=DeepFuseParameters,
    weights=FileWeights(tensors="c1, c2, c3, c4, c5", bundled=lambda parameters: "deepfuse"),
    build=Deferred("fusion_core.methods.deepfuse:build_deepfuse"),
    most_sources=None,
    ms_per_megapixel=450,
)
