"""Descriptions of the networks and weights of methods, which do not need torch."""

from __future__ import annotations

from fusion_core.methods.base import ImageNetWeights, MethodSpec, NoWeights
from fusion_core.networks import (
    DEFAULT_VARIANT,
    KnownWeights,
    bundled_weights,
    imagenet_file,
    network_title,
    torchvision_weights,
)


def network_name(spec: MethodSpec) -> str:
    """Return the name of the network that a method uses by default, `none` if it has none.

    >>> from fusion_core.methods import get_method
    >>> [network_name(get_method(name)) for name in ("densefuse", "resnet_zca", "average")]
    ['autoencoder', 'ResNet-50', 'none']
    """
    if isinstance(spec.weights, NoWeights):
        return "none"
    if isinstance(spec.weights, ImageNetWeights):
        return network_title(spec.weights.layers(spec.parameters()).backbone)
    return spec.weights.content


def default_weights(spec: MethodSpec) -> KnownWeights | None:
    """Return the weights that a method uses by default, None if there are none.

    >>> from fusion_core.methods import get_method
    >>> default_weights(get_method("resnet_zca")).name
    'ResNet50_Weights.IMAGENET1K_V1'
    """
    if isinstance(spec.weights, NoWeights):
        return None
    if isinstance(spec.weights, ImageNetWeights):
        backbone = spec.weights.layers(spec.parameters()).backbone
        return torchvision_weights(imagenet_file(backbone, DEFAULT_VARIANT))
    name = spec.weights.bundled(spec.parameters())
    return None if name is None else bundled_weights(name)
