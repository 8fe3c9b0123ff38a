"""The ResNet-152 method, its parameters, layers and paper."""

from __future__ import annotations

from pydantic import Field, field_validator

from fusion_core.deferred import Deferred
from fusion_core.methods.base import ImageNetWeights, MethodSpec
from fusion_core.networks import InputScale, Layers
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

_LAYERS = Layers("resnet152", ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"))


class Resnet152Parameters(NetworkParameters):
    """Parameters of the ResNet-152 method."""

    filter_size: int = Field(default=31, ge=1, le=255)
    """Side of the mean filter Z (Eq. 1), odd."""
    infrared_weight: float = Field(default=0.6, ge=0.0, le=1.0)
    """Weight of the infrared base (Eq. 3); the visible base has the rest."""
    input_scale: InputScale = "published"
    """Scale of the network's input, which the paper does not specify: `published` is 0..1, as in
    the released code of related methods; `imagenet` is the normalisation that the network was
    trained with."""

    @field_validator("filter_size")
    @classmethod
    def _check_odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("Input should be an odd number")
        return size


def resnet152_layers(parameters: Resnet152Parameters) -> Layers:
    """Return the layers that the method reads."""
    del parameters
    return _LAYERS


RESNET152 = MethodSpec(
    title="ResNet-152 features of the detail",
    paper=Paper(
        authors="Zhang, Li, Zhu & Du",
        title="An infrared and visible image fusion algorithm based on ResNet-152",
        venue="Multimedia Tools and Applications",
        year=2022,
        link="https://doi.org/10.1007/s11042-021-11549-w",
    ),
    parameters=Resnet152Parameters,
    weights=ImageNetWeights(resnet152_layers),
    build=Deferred("fusion_core.methods.resnet152:build_resnet152"),
    ms_per_megapixel=4532,
)
