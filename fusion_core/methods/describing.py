"""Descriptions of the networks and weights of methods, which do not need torch."""

from __future__ import annotations

from fusion_core.methods.base import ImageNetWeights, MethodSpec, NoWeights
from fusion_core.networks import DEFAULT_VARIANT, read_weights_card


def describe_weights(spec: MethodSpec) -> str:
    """Return a sentence about the weights of a method and the licence of the default ones.

    >>> from fusion_core.methods import get_method
    >>> describe_weights(get_method("densefuse"))
    'Default weights: densefuse, included in irfuse (Apache-2.0)'
    """
    if isinstance(spec.weights, NoWeights):
        return "No network, no weights"
    if isinstance(spec.weights, ImageNetWeights):
        backbone = spec.weights.layers(spec.parameters()).backbone
        return (
            f"Default weights: torchvision's {DEFAULT_VARIANT} for {backbone} (subject to the "
            "terms of torchvision and ImageNet)"
        )
    bundled = spec.weights.bundled(spec.parameters())
    if bundled is None:
        return "No default weights"
    licence = read_weights_card(bundled)["licence"]
    return f"Default weights: {bundled}, included in irfuse ({licence})"
