"""Loading of methods: find the weights, and load the method onto a device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.errors import WeightsError
from fusion_core.methods.base import (
    FileWeights,
    FuseBatch,
    ImageNetWeights,
    MethodSpec,
    NoWeights,
)
from fusion_core.methods.registry import get_method
from fusion_core.networks import (
    Layers,
    Weights,
    find_device,
    full_precision,
    imagenet_variant,
    pack_layers,
    parse_random_weights,
    read_bundled_weights,
    read_imagenet_weights,
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
    kind = _describe(method).weights
    if isinstance(kind, NoWeights):
        _refuse_weights(method, source)
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
    variant = imagenet_variant(layers.backbone, source)
    if variant is not None:
        return pack_layers(layers, read_imagenet_weights(layers.backbone, variant, notify))
    assert source is not None  # no source is a variant
    return pack_layers(layers, Weights.from_file(read(source), source))


def build_method(
    method: str | MethodSpec,
    parameters: MethodParameters,
    weights: Weights | None,
    device: torch.device | str = "cpu",
) -> FuseBatch:
    """Load a method onto a device.

    Args:
        method: Name or description of the method.
        parameters: Parameters of the method.
        weights: Result of `find_weights`.
        device: Device to compute on.

    Returns:
        The function that fuses batches: `(K, B, C, H, W)` float32 in 0..255 to `(B, C, H, W)`
        float32, of no fixed range, where C is the number of channels in the description.

    Raises:
        InvalidValueError: The method is unknown, or the device does not exist on this machine.
        WeightsError: Weights are missing, do not fit, or were given for a method without weights.

    >>> import torch
    >>> parameters = get_method("densefuse").parameters.parse({"strategy": "l1_norm"})
    >>> fuse_batch = build_method("densefuse", parameters, Weights.from_seed(0))
    >>> fuse_batch(torch.zeros(2, 1, 1, 4, 5)).shape
    torch.Size([1, 1, 4, 5])
    """
    spec = _describe(method)
    place = find_device(device)
    if isinstance(spec.weights, NoWeights):
        _refuse_weights(method, weights)
        return spec.build(parameters, None, place)
    if spec.needs_weights:
        weights = require_weights(method, weights)
    fuse_batch = spec.build(parameters, weights, place)

    def fuse(sources: Tensor) -> Tensor:
        with full_precision(place):
            return fuse_batch(sources)

    return fuse


def require_weights(method: str | MethodSpec, weights: Weights | None) -> Weights:
    """Return the weights of a method that has a network.

    Raises:
        WeightsError: There are no weights; the message states which ones to provide.
    """
    if weights is not None:
        return weights
    spec = _describe(method)
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


def _refuse_weights(method: str | MethodSpec, weights: object) -> None:
    if weights is not None:
        raise WeightsError(f"{_name(method)} takes no weights: leave out --weights")


def _describe(method: str | MethodSpec) -> MethodSpec:
    return get_method(method) if isinstance(method, str) else method


def _name(method: str | MethodSpec) -> str:
    return method if isinstance(method, str) else method.name or method.title
