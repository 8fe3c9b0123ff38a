"""The VGG-19 multi-layer method, its parameters, layers and paper."""

from __future__ import annotations

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import ImageNetWeights, MethodSpec
from fusion_core.networks import InputScale, Layers, VggOutput
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


class VggMultilayerParameters(NetworkParameters):
    """Parameters of the VGG-19 multi-layer method."""

    smoothness: float = Field(default=5.0, ge=0.0, le=1e6)
    """Lambda of the base's smoothness (Eq. 1)."""
    radius: int = Field(default=1, ge=0, le=64)
    """Block radius r of the activity maps (Eq. 6)."""
    features: VggOutput = "convolution"
    """Features of relu1_1 to relu4_1: the convolutions before these activations (`convolution`, the
    default, as in the released code and the published scores), or the activations (`relu`, as in
    the paper's text)."""
    input_scale: InputScale = "published"
    """Scale of the network's input: `published` is 0..1, as in the released code; `imagenet` is the
    normalisation that the network was trained with."""


def vgg_layers(parameters: VggMultilayerParameters) -> Layers:
    """Return the layers that the method reads."""
    return Layers("vgg19", _LAYERS, parameters.features)


VGG_MULTILAYER = MethodSpec(
    title="VGG-19 multi-layer features",
    paper=Paper(
        authors="Li, Wu & Kittler",
        title="Infrared and Visible Image Fusion using a Deep Learning Framework",
        venue="International Conference on Pattern Recognition (ICPR)",
        year=2018,
        link="https://doi.org/10.1109/ICPR.2018.8546006",
    ),
    parameters=VggMultilayerParameters,
    weights=ImageNetWeights(vgg_layers),
    build=Deferred("fusion_core.methods.vgg_multilayer:build_vgg_multilayer"),
    most_sources=None,
    ms_per_megapixel=4724,
    bytes_per_pixel=400,
)
