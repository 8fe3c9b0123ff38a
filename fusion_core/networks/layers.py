"""Names of ImageNet networks and their layers, which do not need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BackboneName = Literal["vgg19", "resnet50", "resnet101", "resnet152"]
"""Networks of torchvision whose features methods read."""
InputScale = Literal["published", "imagenet"]
"""Scale of the input of an ImageNet network; see `scale_input`."""
VggOutput = Literal["convolution", "relu"]
"""Whether a layer of VGG-19 is the convolution or the activation after it."""


@dataclass(frozen=True)
class Layers:
    """Layers of a network, which determine the required weights.

    Names: `relu1_1` to `relu4_1` of VGG-19; of the ResNets `conv1` (with its activation), `conv2`
    to `conv5` (a whole stage), `conv2_1` to `conv5_1` (its first block), and, before their batch
    normalisation, `conv1_convolution` and `conv2_1_projection` to `conv5_1_projection` (the 1x1
    convolution of the first block's shortcut).
    """

    backbone: BackboneName
    names: tuple[str, ...]
    vgg_output: VggOutput = "convolution"
