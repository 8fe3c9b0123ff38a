"""The fusion methods: one module each, listed in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.methods.densefuse import DenseFuseParameters, build_densefuse
from fusion_core.methods.res2netfuse import Res2NetFuseParameters, build_res2netfuse
from fusion_core.methods.resnet152 import Resnet152Parameters, build_resnet152, resnet152_layers
from fusion_core.methods.resnet_zca import ResnetZcaParameters, build_resnet_zca, zca_layers
from fusion_core.methods.vgg_multilayer import (
    VggMultilayerParameters,
    build_vgg_multilayer,
    vgg_layers,
)
from fusion_core.networks.backbones import Layers
from fusion_core.networks.devices import full_precision
from fusion_core.networks.imagenet import imagenet_variant, read_imagenet_weights
from fusion_core.networks.weights import Weights, parse_random_weights, read_pretrained
from fusion_core.parameters import MethodParameters

FuseBatch = Callable[[Tensor], Tensor]
"""`(K, B, 1, H, W)` float32 in 0..255 to `(B, 1, H, W)` float32, each image by itself."""


@dataclass(frozen=True)
class MethodSpec:
    """A fusion method as the registry knows it."""

    title: str
    paper: str
    parameters: type[MethodParameters]
    build: Callable[[Any, Weights, torch.device], FuseBatch]
    pretrained: Callable[[Any], str | None] | None = None
    """Names the file of the weights that irfuse has of its own; None if there are none."""
    weights_hint: str = ""
    """What to give as weights, said when they are missing."""
    layers: Callable[[Any], Layers] | None = None
    """What the method needs of an ImageNet network; None if it has a network of its own."""


_TRAINED = (
    "give the trained autoencoder with --weights FILE (safetensors or a PyTorch state dict with "
    "{}), or --weights random:0 for an untrained dry run"
)

METHODS: dict[str, MethodSpec] = {
    "densefuse": MethodSpec(
        title="DenseFuse autoencoder",
        paper="Li & Wu, DenseFuse: A Fusion Approach to Infrared and Visible Images, IEEE TIP 2019",
        parameters=DenseFuseParameters,
        build=build_densefuse,
        pretrained=lambda parameters: "densefuse.safetensors",
        weights_hint=_TRAINED.format("c1, dc1, dc2, dc3, c2, c3, c4, c5"),
    ),
    "vgg_multilayer": MethodSpec(
        title="VGG-19 multi-layer features",
        paper=(
            "Li, Wu & Kittler, Infrared and Visible Image Fusion using a Deep Learning Framework, "
            "ICPR 2018"
        ),
        parameters=VggMultilayerParameters,
        build=build_vgg_multilayer,
        layers=vgg_layers,
    ),
    "resnet_zca": MethodSpec(
        title="ResNet features and zero-phase component analysis",
        paper=(
            "Li, Wu & Durrani, Infrared and visible image fusion with ResNet and zero-phase "
            "component analysis, Infrared Physics & Technology 2019"
        ),
        parameters=ResnetZcaParameters,
        build=build_resnet_zca,
        layers=zca_layers,
    ),
    "resnet152": MethodSpec(
        title="ResNet-152 features of the detail",
        paper=(
            "Zhang, Li, Zhu & Du, An infrared and visible image fusion algorithm based on "
            "ResNet-152, Multimedia Tools and Applications 2022"
        ),
        parameters=Resnet152Parameters,
        build=build_resnet152,
        layers=resnet152_layers,
    ),
    "res2netfuse": MethodSpec(
        title="Res2NetFuse autoencoder",
        paper=(
            "Song, Wu, Li, Sun & Palade, Res2NetFuse: A Fusion Method for Infrared and Visible "
            "Images, 2021"
        ),
        parameters=Res2NetFuseParameters,
        build=build_res2netfuse,
        pretrained=lambda parameters: (
            "res2netfuse.safetensors" if parameters.convolutions == "shared" else None
        ),
        weights_hint=_TRAINED.format("c1, c2, r1, split, r2, d1, d2, d3, d4"),
    ),
}


def list_methods() -> list[str]:
    """Return the names of all methods."""
    return list(METHODS)


def get_method(name: str) -> MethodSpec:
    """Return a method by name.

    Raises:
        InvalidValueError: There is no such method.
    """
    if name not in METHODS:
        raise InvalidValueError(f"Unknown method {name!r}; the methods are: {', '.join(METHODS)}")
    return METHODS[name]


def find_weights(
    name: str,
    parameters: MethodParameters,
    source: str | None,
    read: Callable[[str], bytes],
    tell: Callable[[str], None] = lambda message: None,
) -> Weights | None:
    """Find the weights that a user named, or those that a method has by default.

    Args:
        name: Of the method.
        parameters: Its parameters.
        source: `random:SEED`; for a method on an ImageNet network the name of torchvision's
            weights, such as `IMAGENET1K_V2`, and these (`IMAGENET1K_V1`) by default; or a file. An
            autoencoder's default are the weights that come with irfuse.
        read: Reads a file.
        tell: Called with a sentence before a download begins.

    Returns:
        As little of them as the method needs, known by the digest of the whole file; None if a
        method without a default was given none.

    Raises:
        WeightsError: They are missing, damaged, changed, or of another network.
    """
    if source is not None and not source.strip():
        raise WeightsError("Expected a weight file, the name of weights or random:SEED, got none")
    spec = get_method(name)
    random = None if source is None else parse_random_weights(source)
    if random is not None:
        return random
    if spec.layers is None:
        if source is not None:
            return Weights.from_file(read(source), source)
        pretrained = spec.pretrained(parameters) if spec.pretrained else None
        return None if pretrained is None else read_pretrained(pretrained)
    needed = spec.layers(parameters)
    variant = imagenet_variant(needed.backbone, source)
    if variant is not None:
        weights = read_imagenet_weights(needed.backbone, variant, tell)
    else:
        assert source is not None
        weights = Weights.from_file(read(source), source)
    return needed.pack(weights)


def build_method(
    name: str,
    parameters: MethodParameters,
    weights: Weights | None,
    device: torch.device | str = "cpu",
) -> FuseBatch:
    """Load a method onto a device.

    Raises:
        InvalidValueError: There is no such method, or no such device here.
        WeightsError: Weights are missing or do not fit.
    """
    spec = get_method(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValueError(
            f"Cannot compute on device {str(device)!r}: {str(error).splitlines()[0]}"
        ) from None
    if weights is None:
        raise WeightsError(f"{name} needs weights: {spec.weights_hint}")
    place = torch.device(device)
    fuse_batch = spec.build(parameters, weights, place)

    def fuse(sources: Tensor) -> Tensor:
        with full_precision(place):
            return fuse_batch(sources)

    return fuse
