"""ImageNet networks as stages: split after each layer, and truncated after the deepest one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fusion_core.errors import InvalidValueError
from fusion_core.networks.layers import Layers, VggOutput

_VGG19_CONVOLUTIONS = {"relu1_1": 0, "relu2_1": 5, "relu3_1": 10, "relu4_1": 19}
"""Index in torchvision's `features` of the convolution before each activation."""
_CONVOLUTION = "conv1_convolution"
"""A ResNet's first convolution, whose batch normalisation cannot be folded if it is requested."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Modules up to and including a layer."""

    name: str | None
    """The layer's name, None if it is not requested."""
    module: nn.Module
    is_branch: bool = False
    """Whether the next stage reads this stage's input rather than its output."""


def split_network(network: nn.Module, layers: Layers) -> list[Stage]:
    """Split a network after each requested layer, and truncate it after the deepest one."""
    is_vgg = layers.backbone == "vgg19"
    stages: list[Stage] = []
    wanted = set(layers.names)
    found = _vgg19(network, layers.vgg_output) if is_vgg else _resnet(network, layers.names)
    for stage in found:
        stages.append(stage if stage.name in wanted else replace(stage, name=None))
        wanted.discard(stage.name or "")
        if not wanted:
            return stages
    raise InvalidValueError(f"{layers.backbone} has no layer {', '.join(sorted(wanted))}")


def _vgg19(network: Any, output: VggOutput) -> Iterator[Stage]:  # noqa: ANN401
    offset = 1 if output == "relu" else 0
    names = {index + offset: name for name, index in _VGG19_CONVOLUTIONS.items()}
    for index, module in enumerate(network.features):
        if isinstance(module, nn.MaxPool2d):
            # A last odd row or column is pooled separately, as in the published networks, so that
            # the maps cover images of any size.
            yield Stage(None, nn.MaxPool2d(2, 2, ceil_mode=True))
        else:
            yield Stage(names.get(index), module)


def _resnet(network: Any, wanted: Sequence[str]) -> Iterator[Stage]:  # noqa: ANN401
    if _CONVOLUTION in wanted:
        yield Stage(_CONVOLUTION, network.conv1)
        yield Stage("conv1", nn.Sequential(network.bn1, network.relu))
    else:
        yield Stage("conv1", nn.Sequential(network.conv1, network.bn1, network.relu))
    yield Stage(None, network.maxpool)
    for number in range(1, 5):
        first, *middle, last = getattr(network, f"layer{number}")
        layer = f"conv{number + 1}"
        projection = f"{layer}_1_projection"
        if projection in wanted:
            yield Stage(projection, nn.Sequential(first.downsample[0]), is_branch=True)
        yield Stage(f"{layer}_1", first)
        for block in middle:
            yield Stage(None, block)
        yield Stage(layer, last)


def fold_batch_norm(module: Any) -> nn.Module:  # noqa: ANN401
    """Fold the batch normalisations of a stage into the convolutions before them."""
    if isinstance(module, nn.Sequential):
        parts: list[Any] = list(module)
        if [type(part) for part in parts[:2]] == [nn.Conv2d, nn.BatchNorm2d]:
            return nn.Sequential(fuse_conv_bn_eval(parts[0], parts[1]), *parts[2:])
    if hasattr(module, "bn3"):
        for number in (1, 2, 3):
            pair = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
            setattr(module, f"conv{number}", fuse_conv_bn_eval(*pair))
            setattr(module, f"bn{number}", nn.Identity())
        if module.downsample is not None:
            module.downsample = fuse_conv_bn_eval(*module.downsample)
    return module  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The part of the image that influences one feature pixel."""

    stride: int
    """Distance in pixels between the centres of neighbouring fields."""
    radius: int
    """Distance in pixels from the centre to the border."""


def receptive_fields(stages: Sequence[Stage]) -> list[ReceptiveField]:
    """Return the receptive field of the features after each stage."""
    trunk = ReceptiveField(1, 0)
    fields = []
    for stage in stages:
        field = _widen(trunk, stage.module)
        fields.append(field)
        if not stage.is_branch:
            trunk = field
    return fields


def _widen(field: ReceptiveField, module: nn.Module) -> ReceptiveField:
    """Return the receptive field after a module whose input has a receptive field."""
    stride, radius = field.stride, field.radius
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.MaxPool2d) and "downsample" not in name:
            size, step = _side(part.kernel_size), _side(part.stride)
            radius += size // 2 * stride
            stride *= step
    return ReceptiveField(stride, radius)


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
