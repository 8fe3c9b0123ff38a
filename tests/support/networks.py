"""Random weights of the networks of the methods in the format of their files, and sources.

Each tensor is drawn once per process for all networks and depths, because torchvision's ResNets
have the same shapes under the same names.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from fusion_core.images.synthetic import synthetic_pair
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.layers import BackboneName, InputScale, Layers
from fusion_core.networks.weights import Weights
from support.reference_backbones import RESNET_BLOCKS, VGG19_BLOCKS

State = dict[str, NDArray[np.float32]]
Image = NDArray[np.float64]

ALL_RESNET_LAYERS = (
    "conv1", "conv2_1", "conv2", "conv3_1", "conv3", "conv4_1", "conv4", "conv5_1", "conv5",
)  # fmt: skip
"""Every layer of a ResNet that continues the network, in their order."""
VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
RESNET_LAYERS = ("conv2", "conv3", "conv4", "conv5")

RES2NET_SHAPES = {
    "c1": (32, 1, 3, 3),
    "c2": (64, 32, 3, 3),
    "r1": (64, 64, 1, 1),
    "r2": (64, 64, 1, 1),
    "d1": (64, 64, 3, 3),
    "d2": (32, 64, 3, 3),
    "d3": (16, 32, 3, 3),
    "d4": (1, 16, 3, 3),
}
"""Convolutions of Res2NetFuse outside of the Res2Net block's groups."""
RES2NET_SPLITS = {
    "shared": ("split",),
    "separate": tuple(f"split{group}_{place}" for group in (2, 3, 4) for place in (1, 2)),
}

SPREAD = 0.1
"""Standard deviation of biases and means."""
GROWTH = 0.25
"""Gain of a residual branch."""
NOISE = 6.0
"""Standard deviation of the noise on the sources, in gray levels."""


@functools.cache
def tensor_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of torchvision's state dict, in its order, without counters."""
    import torchvision  # type: ignore[import-untyped]

    with torch.device("meta"):
        state = getattr(torchvision.models, model)(weights=None).state_dict()
    return {name: tuple(state[name].shape) for name in state if not name.endswith("_tracked")}


def needed_names(backbone: BackboneName, layer: str) -> list[str]:
    """Return the names of the tensors up to a layer."""
    names = list(tensor_shapes(backbone))
    module = _last_module(backbone, layer)
    last = max(index for index, name in enumerate(names) if name.startswith(f"{module}."))
    return names[: last + 1]


def network_state(backbone: BackboneName, layer: str) -> State:
    """Return random tensors of a network up to a layer."""
    shapes = tensor_shapes(backbone)
    return {name: draw_tensor(name, shapes[name]) for name in needed_names(backbone, layer)}


@functools.cache
def draw_tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw He-normal filters; statistics and gains in 0.5..1.5; small biases and means."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        filters = generator.standard_normal(shape, dtype=np.float32)
        filters *= np.float32((2.0 / np.prod(shape[1:])) ** 0.5)
        return filters
    if name.endswith(("bias", "running_mean")):
        return generator.normal(0.0, SPREAD, shape).astype(np.float32)
    gain = GROWTH if name.endswith("bn3.weight") else 1.0
    return (gain * generator.uniform(0.5, 1.5, shape)).astype(np.float32)


def whole_state(model: str, layer: str | None = None) -> dict[str, Tensor]:
    """Return torchvision's complete state dict, with float16 zeros after the layer."""
    needed = set(needed_names(model, layer)) if layer else set()  # type: ignore[arg-type]
    return {
        name: torch.from_numpy(draw_tensor(name, shape))
        if name in needed
        else torch.zeros(shape, dtype=torch.float16)
        for name, shape in tensor_shapes(model).items()
    }


@functools.lru_cache(maxsize=2)
def network_weights(backbone: BackboneName, layer: str) -> Weights:
    """Return the same tensors as a file."""
    return Weights.from_file(save(network_state(backbone, layer)), f"{backbone}.safetensors")


@functools.lru_cache(maxsize=16)
def feature_extractor(
    layers: Layers, *, input_scale: InputScale = "published", detail: bool = False
) -> FeatureExtractor:
    """Return a network with the random weights, on the CPU."""
    weights = network_weights(layers.backbone, layers.names[-1])
    device = torch.device("cpu")
    with torch.inference_mode(False):  # for later users of the cached tensors
        return FeatureExtractor(layers, weights, device, input_scale=input_scale, detail=detail)


@functools.cache
def res2net_state(convolutions: str) -> State:
    """Return random tensors of Res2NetFuse, with biases that matter for inputs of 0..255."""
    generator = np.random.default_rng(7)
    splits = dict.fromkeys(RES2NET_SPLITS[convolutions], (16, 16, 3, 3))
    state = {}
    for name, shape in (RES2NET_SHAPES | splits).items():
        deviation = (2.0 / np.prod(shape[1:])) ** 0.5
        state[f"{name}.weight"] = generator.normal(0, deviation, shape).astype(np.float32)
        state[f"{name}.bias"] = generator.normal(0, 10, shape[0]).astype(np.float32)
    return state


def res2net_weights(convolutions: str) -> Weights:
    """Return the same tensors as a file."""
    return Weights.from_file(save(res2net_state(convolutions)), f"{convolutions}.safetensors")


@functools.cache
def source_images(size: tuple[int, int], count: int = 2, seed: int = 0) -> tuple[Image, ...]:
    """Draw registered noisy sources of 0..255: infrared, visible, infrared of another scene."""
    generator = np.random.default_rng(seed)
    scenes = [synthetic_pair(*size, seed=seed + i, colour=False) for i in range(-(-count // 2))]
    images = [image for scene in scenes for image in scene][:count]
    noisy = [image + generator.normal(0.0, NOISE, size) for image in images]
    return tuple(image.clip(0, 255).astype(np.float32).astype(np.float64) for image in noisy)


def to_sources(images: Sequence[Image]) -> Tensor:
    """Stack K images to one pair `(K, 1, 1, H, W)`."""
    return torch.from_numpy(np.stack(images)).float()[:, None, None]


def deviation(found: Tensor, expected: NDArray[np.float64]) -> float:
    """Return the largest difference over the largest value."""
    difference = np.abs(found.double().numpy() - expected).max()
    return float(difference / np.abs(expected).max())


def gray_levels(found: Tensor, expected: NDArray[np.float64]) -> float:
    """Return the largest difference."""
    return float(np.abs(found.double().numpy() - expected).max())


def _last_module(backbone: BackboneName, layer: str) -> str:
    """Return the name of the last module of a layer such as `relu2_1`, `conv3` or `conv3_1`."""
    if backbone == "vgg19":
        return f"features.{VGG19_BLOCKS[VGG_LAYERS.index(layer)][0]}"
    if layer == "conv1":
        return "bn1"
    stage = int(layer[4]) - 1
    block = 0 if layer.endswith("_1") else RESNET_BLOCKS[backbone][stage - 1] - 1
    return f"layer{stage}.{block}"
