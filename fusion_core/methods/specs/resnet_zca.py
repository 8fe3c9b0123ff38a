"""ResNet with ZCA, its parameters, layers and paper."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from fusion_core.choices import Norm
from fusion_core.deferred import Deferred
from fusion_core.methods.base import ImageNetWeights, MethodSpec
from fusion_core.networks import InputScale, Layers, VggOutput
from fusion_core.papers import Paper
from fusion_core.parameters import NetworkParameters

_VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_RESNET_LAYERS = ("conv2", "conv3", "conv4", "conv5")


class ResnetZcaParameters(NetworkParameters):
    """Parameters of ResNet with ZCA."""

    backbone: Literal["resnet50", "resnet101", "vgg19"] = "resnet50"
    """ImageNet network; the paper prefers ResNet-50."""
    layer: Literal[
        "conv2", "conv3", "conv4", "conv5", "relu1_1", "relu2_1", "relu3_1", "relu4_1"
    ] = "conv4"
    """`conv2` to `conv5` of a ResNet, `relu1_1` to `relu4_1` of VGG-19 (whose default is
    `relu4_1`)."""
    norm: Norm = "l1"
    """Norm of the activity map: `l1` (Eq. 5), `l2`, `nuclear` (Eq. 8)."""
    zca: bool = True
    """Whether features are whitened (Eq. 3-4)."""
    radius: int = Field(default=2, ge=0, le=8)
    """Window radius t (Eq. 5, 8)."""
    epsilon: float = Field(default=1e-5, gt=0.0, le=1.0)
    """Term that is added to the eigenvalues (Eq. 4)."""
    centred: bool = True
    """Whether the mean of each channel is removed before it is whitened, as zero-phase component
    analysis is defined; `false` is Eq. 3-4 as they are printed."""
    features: VggOutput = "convolution"
    """Features of VGG-19: the convolutions before the activations (`convolution`, the default, as
    in the released code and the published scores), or the activations (`relu`, as in the paper's
    text)."""
    input_scale: InputScale = "published"
    """Scale of the network's input: `published` is 0..1, as in the released code; `imagenet` is the
    normalisation that the network was trained with."""

    @model_validator(mode="before")
    @classmethod
    def _default_layer(cls, values: Any) -> Any:  # noqa: ANN401
        if isinstance(values, dict) and values.get("backbone") == "vgg19":
            return {"layer": "relu4_1", **values}
        return values

    @model_validator(mode="after")
    def _check_layer(self) -> ResnetZcaParameters:
        layers = _VGG_LAYERS if self.backbone == "vgg19" else _RESNET_LAYERS
        if self.layer not in layers:
            raise ValueError(
                f"Parameter layer: {self.backbone} has the layers {', '.join(layers)}, but got "
                f"{self.layer!r}"
            )
        return self


def zca_layers(parameters: ResnetZcaParameters) -> Layers:
    """Return the layers that the method reads."""
    return Layers(parameters.backbone, (parameters.layer,), parameters.features)


RESNET_ZCA = MethodSpec(
    title="ResNet features and zero-phase component analysis",
    paper=Paper(
        authors="Li, Wu & Durrani",
        title="Infrared and visible image fusion with ResNet and zero-phase component analysis",
        venue="Infrared Physics & Technology",
        year=2019,
        link="https://doi.org/10.1016/j.infrared.2019.103039",
    ),
    parameters=ResnetZcaParameters,
    weights=ImageNetWeights(zca_layers),
    build=Deferred("fusion_core.methods.resnet_zca:build_resnet_zca"),
    most_sources=None,
    ms_per_megapixel=1976,
    variants=(
        {"layer": "conv4", "norm": "l1"},
        {"layer": "conv4", "norm": "l2"},
        {"layer": "conv4", "norm": "nuclear"},
        {"layer": "conv5", "norm": "l1"},
    ),
)
