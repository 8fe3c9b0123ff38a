"""ImageNet networks as feature extractors, truncated after the deepest required layer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fusion_core.choices import Convolution, Precision
from fusion_core.networks.convolution import speed_up_convolutions
from fusion_core.networks.devices import constant
from fusion_core.networks.layers import BackboneName, InputScale, Layers
from fusion_core.networks.stages import Stage, fold_batch_norm, receptive_fields, split_network
from fusion_core.networks.state_dicts import check_tensors, pack_tensors, read_tensors
from fusion_core.networks.tiling import tiles
from fusion_core.networks.weights import Weights

_MEAN = (0.485, 0.456, 0.406)
_STANDARD_DEVIATION = (0.229, 0.224, 0.225)

_HEADS = ("classifier.", "fc.")
"""Tensors of the classifier, which may be missing in a file."""

_LONGEST_SIDE = {"cpu": 1024, "cuda": 2048}
"""Images with a longer side in pixels are split into tiles."""
_LARGEST_TILED_RADIUS = 64
"""Only stages with a receptive field of at most this radius in pixels are computed in tiles. The
radius is the border of each tile, which would be 700 pixels for all of ResNet-152; the maps of
later stages are small enough to be kept in memory."""
_BATCH_PIXELS = {"cpu": 1, "cuda": 4 * 1024 * 1024}
"""Largest number of pixels of a group of images that are extracted together."""

_GROWTH = 0.25
"""Random weights: gain of a residual branch, which keeps 50 blocks from growing without bound."""
_SPREAD = 0.1
"""Random weights: standard deviation of biases and means."""


def pack_layers(layers: Layers, weights: Weights) -> Weights:
    """Return weights reduced to the tensors that the layers need.

    Raises:
        WeightsError: The file is damaged, or of another network.
    """
    if weights.data is None:
        return weights
    network = _empty_network(layers.backbone)
    needed = _needed_names(network, split_network(network, layers))
    return pack_tensors(weights, _read(network, needed, weights))


class FeatureExtractor:
    """A backbone's layers with their weights, on a device.

    Batch normalisation is folded into the convolutions, and tensors lie channels-last.

    Args:
        layers: Layers to extract.
        weights: State dict with torchvision's names; other tensors are ignored.
        device: Device to compute on.
        precision: Precision of the network; features are float32 or bfloat16 accordingly.
        convolution: Algorithm of 3x3 convolutions in fp32 on a CPU.
        input_scale: See `scale_input`.
        detail: Whether inputs are detail rather than images.
        longest_side: Longest side in pixels of an image that `reduce` does not cut into tiles;
            1024 on a CPU and 2048 on a GPU by default.
        smallest_tile: Smallest side of a tile in pixels, without its border.

    Attributes:
        strides: Pixels of the image per pixel of each layer's feature maps.
        receptive_radius: Distance in pixels from which the deepest layer is influenced.

    Raises:
        WeightsError: The weights are damaged, or of another network.
    """

    def __init__(
        self,
        layers: Layers,
        weights: Weights,
        device: torch.device,
        *,
        precision: Precision = "fp32",
        convolution: Convolution = "winograd",
        input_scale: InputScale = "published",
        detail: bool = False,
        longest_side: int | None = None,
        smallest_tile: int = 256,
    ) -> None:
        stages = _load(layers, weights)
        fields = receptive_fields(stages)
        self.strides = [f.stride for f, stage in zip(fields, stages, strict=True) if stage.name]
        self.receptive_radius = fields[-1].radius
        self._tiled = sum(field.radius <= _LARGEST_TILED_RADIUS for field in fields)
        self._tiled_field = fields[self._tiled - 1]
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._stages = [
            replace(stage, module=_place(stage.module, device, dtype, convolution))
            for stage in stages
        ]
        self._dtype = dtype
        self._scale = functools.partial(scale_input, input_scale=input_scale, detail=detail)
        self._longest = longest_side or _LONGEST_SIDE.get(device.type, _LONGEST_SIDE["cpu"])
        self._smallest_tile = smallest_tile
        self._batch_pixels = _BATCH_PIXELS.get(device.type, 1)

    def extract(self, images: Tensor) -> Iterator[Tensor]:
        """Run images through the network.

        Args:
            images: `(N, 1, H, W)` float32 in 0..255 (detail: of no fixed range).

        Yields:
            Feature maps `(N, C, ceil(H / stride), ceil(W / stride))` of each requested layer. They
            are overwritten when the next maps are computed.
        """
        for name, features in self._run(self._first(images), self._stages):
            if name is not None:
                yield features

    def _first(self, images: Tensor) -> Tensor:
        return self._scale(images).to(self._dtype, memory_format=torch.channels_last)

    @staticmethod
    def _run(features: Tensor, stages: Sequence[Stage]) -> Iterator[tuple[str | None, Tensor]]:
        for stage in stages:
            maps = stage.module(features)
            yield stage.name, maps
            if not stage.is_branch:
                features = maps

    def reduce(
        self, images: Tensor, reduction: Callable[[Tensor], Tensor], *, radius: int = 0
    ) -> list[Tensor]:
        """Run images through the network in bounded memory, and keep a reduction of each layer.

        Args:
            images: `(N, 1, H, W)` float32 in 0..255 (detail: of no fixed range).
            reduction: Maps features `(n, C, h, w)` to `(n, D, h, w)`.
            radius: Radius in feature pixels of the neighbourhood that the reduction reads.

        Returns:
            The reduction of each layer, `(N, D, ceil(H / stride), ceil(W / stride))`.
        """
        pixels = images.shape[-2] * images.shape[-1]
        group = max(1, self._batch_pixels // pixels)
        parts = [self._reduce_tiled(part, reduction, radius) for part in images.split(group)]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _reduce_tiled(
        self, images: Tensor, reduction: Callable[[Tensor], Tensor], radius: int
    ) -> list[Tensor]:
        height, width = images.shape[-2:]
        if max(height, width) <= self._longest:
            return [reduction(features) for features in self.extract(images)]
        shallow, deep = self._stages[: self._tiled], self._stages[self._tiled :]
        stride = self._tiled_field.stride
        halo = -(-(self._tiled_field.radius + radius * stride) // stride) * stride
        side = max(self._smallest_tile, self._longest - 2 * halo) // stride * stride
        results: dict[str, Tensor] = {}
        last: Tensor | None = None
        for tile in tiles(height, width, tile=side, halo=halo, stride=stride, whole=self._longest):
            strides = iter(self.strides)
            for name, features in self._run(self._first(tile.crop(images)), shallow):
                if name is not None:
                    shrink = next(strides)
                    reduced = reduction(features)
                    if name not in results:
                        results[name] = _empty_maps(reduced, height, width, shrink)
                    tile.put(reduced, results[name], stride=shrink)
            if deep:
                if last is None:
                    last = _empty_maps(features, height, width, stride)
                tile.put(features, last, stride=stride)
        if last is not None:
            for name, features in self._run(last, deep):
                if name is not None:
                    results[name] = reduction(features)
        return list(results.values())


def _empty_maps(like: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return empty maps of an image, into which tiles are written."""
    size = -(-height // stride), -(-width // stride)
    return torch.empty(
        (*like.shape[:2], *size),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )


def scale_input(images: Tensor, *, input_scale: InputScale, detail: bool) -> Tensor:
    """Convert images to the input of a network.

    Args:
        images: `(N, 1, H, W)` float32 in 0..255.
        input_scale: `published` only divides by 255, as the released code of the papers does, even
            for networks that expect 0..255 minus a mean; `imagenet` also subtracts the mean and
            divides by the standard deviation with which torchvision's networks were trained.
        detail: Whether the images are detail, whose mean is 0 already: `imagenet` subtracts none.

    Returns:
        `(N, 3, H, W)` float32, the gray image three times.
    """
    scaled = images / 255.0
    if input_scale == "published":
        return scaled.expand(-1, 3, -1, -1)
    mean = constant((0.0,) * 3 if detail else _MEAN, images.device)
    deviation = constant(_STANDARD_DEVIATION, images.device)
    return (scaled - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


def _load(layers: Layers, weights: Weights) -> list[Stage]:
    """Build the stages with their weights, batch normalisation folded."""
    network = _empty_network(layers.backbone)
    stages = split_network(network, layers)
    needed = _needed_names(network, stages)
    if weights.seed is None:
        tensors = _read(network, needed, weights)
    else:
        tensors = _draw(network, needed, weights.seed)
    network.load_state_dict(tensors, assign=True, strict=False)
    return [replace(stage, module=fold_batch_norm(stage.module.eval())) for stage in stages]


def _place(
    module: nn.Module, device: torch.device, dtype: torch.dtype, convolution: Convolution
) -> nn.Module:
    """Move a stage to a device, prepared for inference."""
    placed = module.to(device, dtype).to(memory_format=torch.channels_last)
    return speed_up_convolutions(placed.requires_grad_(False), convolution)


def _empty_network(backbone: BackboneName) -> nn.Module:
    """Return torchvision's network without storage for its parameters."""
    import torchvision  # type: ignore[import-untyped]

    with torch.device("meta"):
        network: nn.Module = getattr(torchvision.models, backbone)(weights=None)
    return network


def _needed_names(network: nn.Module, stages: Sequence[Stage]) -> list[str]:
    """Return the names of the tensors of the stages, in the order of the network."""
    used = {id(tensor) for stage in stages for tensor in _tensors(stage.module).values()}
    return [name for name, tensor in _tensors(network).items() if id(tensor) in used]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict(keep_vars=True)
    return {name: state[name] for name in state if not name.endswith("num_batches_tracked")}


def _read(network: nn.Module, needed: Sequence[str], weights: Weights) -> dict[str, Tensor]:
    """Read the required tensors from a file with all tensors of the network, or only those.

    Raises:
        WeightsError: The file is damaged, or of another network.
    """
    tensors = read_tensors(weights)
    whole = network.state_dict()
    found = {name for name in tensors if not name.endswith("num_batches_tracked")}
    body = {name for name in _tensors(network) if not name.startswith(_HEADS)}
    required = set(needed) if found <= set(needed) else body
    check_tensors(weights, tensors, whole, required)
    return {name: tensors[name].float() for name in needed}


def _draw(network: nn.Module, needed: Sequence[str], seed: int) -> dict[str, Tensor]:
    """Draw random weights; deeper layers do not change the weights of the layers before them."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: tensor.shape for name, tensor in _tensors(network).items()}
    tensors = {}
    for name in needed:
        tensor = torch.empty(shapes[name])
        if tensor.ndim > 1:
            tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0.0, _SPREAD, generator=generator)
        else:
            tensor.uniform_(0.5, 1.5, generator=generator)
        tensors[name] = tensor * _GROWTH if name.endswith("bn3.weight") else tensor
    return tensors
