"""The ResNet-152 method, its parameters, layers and paper."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fusion_core.deferred import Deferred
from fusion_core.methods.base import ImageNetWeights, MethodSpec
from fusion_core.networks import InputScale, Layers
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

Resnet152Variant = Literal["published", "text"]
"""The authors' program, or the equations of the paper."""

_LAYERS: dict[Resnet152Variant, tuple[str, ...]] = {
    "published": ("conv1_convolution", "conv2_1_projection", "conv3", "conv4", "conv5"),
    "text": ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
}
_MEAN_FILTER = 31
_TEXT_INFRARED_WEIGHT = 0.6


class Resnet152Parameters(NetworkParameters):
    """Parameters of the ResNet-152 method."""

    variant: Resnet152Variant = "published"
    """Structure of the method: that of the authors' program, from which the published pictures and
    scores come (`published`), or that of the paper's equations (`text`), from which the published
    pictures differ by 4 to 7 gray levels on average."""
    infrared_weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Weight of the infrared base (Eq. 3); the visible base has the rest. The default is 0.5 for
    the variant `published` and 0.6 for `text`."""
    filter_size: int = Field(default=_MEAN_FILTER, ge=1, le=255)
    """Side of the mean filter Z (Eq. 1), odd. Only the variant `text` has one; the base of
    `published` is that of `vgg_multilayer`."""
    input_scale: InputScale = "published"
    """Scale of the network's input: `published` is 0..1, as in the authors' program; `imagenet` is
    the normalisation that the network was trained with."""

    @model_validator(mode="before")
    @classmethod
    def _default_weight(cls, values: Any) -> Any:  # noqa: ANN401
        if isinstance(values, dict) and values.get("variant") == "text":
            return {"infrared_weight": _TEXT_INFRARED_WEIGHT, **values}
        return values

    @field_validator("filter_size")
    @classmethod
    def _check_odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("Input should be an odd number")
        return size

    @model_validator(mode="after")
    def _check_filter(self) -> Resnet152Parameters:
        if self.variant == "published" and self.filter_size != _MEAN_FILTER:
            raise ValueError(
                "Parameter filter_size: the variant published has no mean filter; leave it out, or "
                "add variant=text"
            )
        return self


def resnet152_layers(parameters: Resnet152Parameters) -> Layers:
    """Return the layers that the method reads."""
    return Layers("resnet152", _LAYERS[parameters.variant])


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
    variants=({"variant": "published"}, {"variant": "text"}),
)
