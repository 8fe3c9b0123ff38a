"""Weights of methods: find them, and check that they fit; torch is imported only where needed."""

from __future__ import annotations

from collections.abc import Callable

from fusion_core.errors import WeightsError
from fusion_core.methods.base import FileWeights, ImageNetWeights, MethodSpec, NoWeights
from fusion_core.methods.registry import get_method
from fusion_core.networks import (
    Layers,
    Weights,
    imagenet_variant,
    parse_random_weights,
    read_bundled_weights,
    read_imagenet_weights,
    read_weights_card,
)
from fusion_core.parameters import MethodParameters

ReadFile = Callable[[str], bytes]
Notify = Callable[[str], None]


def find_weights(
    method: str | MethodSpec,
    parameters: MethodParameters,
    source: str | None,
    read: ReadFile,
    notify: Notify = lambda message: None,
) -> Weights | None:
    """Find the given weights, or the default weights of a method.

    Args:
        method: Name or description of the method.
        parameters: Parameters of the method.
        source: None for the default weights; `random:SEED`; a weight file; or, for a method on an
            ImageNet network, the name of torchvision's weights such as `IMAGENET1K_V2`. The default
            is `IMAGENET1K_V1` for those, and the bundled weights for autoencoders.
        read: Returns the bytes of a weight file.
        notify: Called with a message before a download starts.

    Returns:
        The tensors that the method needs, identified by the digest of the whole file. None for a
        method without weights, and for a network for which irfuse includes no weights.

    Raises:
        WeightsError: The weights are missing, damaged, changed or of another network, or were
            given for a method without weights.
    """
    kind = find_spec(method).weights
    if isinstance(kind, NoWeights):
        refuse_weights(method, source)
        return None
    if source is not None:
        if not source.strip():
            raise WeightsError(
                "Expected a weight file, the name of weights or random:SEED, but got none"
            )
        if random := parse_random_weights(source):
            return random
    if isinstance(kind, ImageNetWeights):
        return _imagenet_weights(kind.layers(parameters), source, read, notify)
    if source is not None:
        return Weights.from_file(read(source), source)
    bundled = kind.bundled(parameters)
    return None if bundled is None else read_bundled_weights(bundled)


def _imagenet_weights(
    layers: Layers, source: str | None, read: ReadFile, notify: Notify
) -> Weights:
    from fusion_core.networks import pack_layers  # needs torch

    variant = imagenet_variant(layers.backbone, source)
    if variant is not None:
        return pack_layers(layers, read_imagenet_weights(layers.backbone, variant, notify))
    assert source is not None  # no source is a variant
    return pack_layers(layers, Weights.from_file(read(source), source))


def check_weights(spec: MethodSpec, parameters: MethodParameters, weights: Weights | None) -> None:
    """Check that a method can be loaded with the weights that were found for it.

    Those that irfuse includes fit, and layers of ImageNet networks were checked when they were
    found. With others, the method is loaded.

    Args:
        spec: Description of the method.
        parameters: Parameters of the method.
        weights: Result of `find_weights`.

    Raises:
        WeightsError: Weights are missing, or do not fit.
    """
    if spec.needs_weights:
        weights = require_weights(spec, weights)
    if weights is not None and not _fits(spec, parameters, weights):
        from fusion_core.methods.loading import build_method

        build_method(spec, parameters, weights)


def _fits(spec: MethodSpec, parameters: MethodParameters, weights: Weights) -> bool:
    kind = spec.weights
    if isinstance(kind, FileWeights):
        name = kind.bundled(parameters)
        return name is not None and weights.sha256 == read_weights_card(name)["sha256"]
    return isinstance(kind, ImageNetWeights)


def require_weights(method: str | MethodSpec, weights: Weights | None) -> Weights:
    """Return the weights of a method that has a network.

    Raises:
        WeightsError: There are no weights; the message states which ones to provide.
    """
    if weights is not None:
        return weights
    spec = find_spec(method)
    kind = spec.weights
    file = (
        f"the trained {kind.content} with --weights FILE (safetensors or a PyTorch state dict with "
        f"{kind.tensors})"
        if isinstance(kind, FileWeights)
        else "the network with --weights FILE (safetensors or a PyTorch state dict)"
    )
    raise WeightsError(
        f"{_name(method)} needs weights: give {file}, or --weights random:0 for an untrained dry "
        "run"
    )


def refuse_weights(method: str | MethodSpec, weights: object) -> None:
    """Check that no weights were given for a method that has none.

    Raises:
        WeightsError: There are some.
    """
    if weights is not None:
        raise WeightsError(f"{_name(method)} takes no weights: leave out --weights")


def find_spec(method: str | MethodSpec) -> MethodSpec:
    """Return the description of a method that is given by its name or by itself."""
    return get_method(method) if isinstance(method, str) else method


def _name(method: str | MethodSpec) -> str:
    return method if isinstance(method, str) else method.name or method.title
