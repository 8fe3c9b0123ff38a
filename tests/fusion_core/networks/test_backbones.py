"""Backbones: their layers, how far these look, and tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import get_args
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from support import reference_backbones
from support.networks import (
    ALL_RESNET_LAYERS,
    VGG_LAYERS,
    deviation,
    feature_extractor,
    needed_names,
    network_state,
    network_weights,
    source_images,
    tensor_shapes,
)
from support.reference_backbones import RESNET_BLOCKS
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.methods.activity import l1_norm, nuclear_norm, shifted_products
from fusion_core.networks.backbones import FeatureExtractor, scale_input
from fusion_core.networks.layers import BackboneName, Layers, VggOutput
from fusion_core.networks.weights import Weights

CPU = torch.device("cpu")

BEFORE_NORMALISATION = (
    "conv1_convolution", "conv2_1_projection", "conv3_1_projection", "conv4_1_projection",
    "conv5_1_projection",
)  # fmt: skip
RESNET152_PUBLISHED = (*BEFORE_NORMALISATION[:2], "conv3", "conv4", "conv5")

SIZES = ((61, 47), (5, 7), (1, 1))
SMALL = (21, 17)
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")

TOLERANCE = 2e-5
"""Over the largest value of a layer; the largest deviation of float32 measured is 2e-6."""
REORDERED = 2e-5
"""Other tile sizes let sums run in another order; the largest effect measured is 1.9e-6."""


def image(size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(source_images(size)[1]).float()[None, None]


def repeated(size: tuple[int, int]) -> reference_backbones.Maps:
    """Return what the reference takes for the same image: three channels in 0..1."""
    return np.stack([source_images(size)[1] / 255.0] * 3)


def maps_of(extractor: FeatureExtractor, images: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [maps.clone() for maps in extractor.extract(images)]


# Layers


@sizes
@pytest.mark.parametrize("output", get_args(VggOutput))
def test_layers_of_vgg19_equal_the_reference(output: VggOutput, size: tuple[int, int]) -> None:
    found = maps_of(feature_extractor(Layers("vgg19", VGG_LAYERS, output)), image(size))
    state = network_state("vgg19", "relu4_1")
    expected = reference_backbones.vgg19_features(repeated(size), state, output)
    assert [maps[0].shape for maps in found] == [maps.shape for maps in expected]
    assert max(map(deviation, (maps[0] for maps in found), expected)) < TOLERANCE


@sizes
@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_layers_of_a_resnet_equal_the_reference(
    backbone: BackboneName, size: tuple[int, int]
) -> None:
    found = maps_of(feature_extractor(Layers(backbone, ALL_RESNET_LAYERS)), image(size))
    state = network_state(backbone, "conv5")
    expected = reference_backbones.resnet_features(
        repeated(size), state, RESNET_BLOCKS[backbone], ALL_RESNET_LAYERS
    )
    assert [maps[0].shape for maps in found] == [maps.shape for maps in expected]
    assert max(map(deviation, (maps[0] for maps in found), expected)) < TOLERANCE


@sizes
def test_convolutions_before_batch_normalisation_equal_the_reference(
    size: tuple[int, int],
) -> None:
    first, second, *others = BEFORE_NORMALISATION
    layers = (first, "conv1", second, "conv2_1", *others, "conv5")
    found = maps_of(feature_extractor(Layers("resnet50", layers)), image(size))
    expected = reference_backbones.resnet_features(
        repeated(size), network_state("resnet50", "conv5"), RESNET_BLOCKS["resnet50"], layers
    )
    assert [maps[0].shape for maps in found] == [maps.shape for maps in expected]
    assert max(map(deviation, (maps[0] for maps in found), expected)) < TOLERANCE


def test_requesting_a_branch_does_not_move_the_layers_after_it() -> None:
    layers = ("conv2_1", "conv2")
    alone = feature_extractor(Layers("resnet50", layers))
    branched = feature_extractor(Layers("resnet50", ("conv2_1_projection", *layers)))
    _, *found = maps_of(branched, image(SMALL))
    assert all(map(torch.equal, found, maps_of(alone, image(SMALL))))
    assert branched.strides == [4, 4, 4]
    assert branched.receptive_radius == alone.receptive_radius


@pytest.mark.parametrize(
    ("layers", "missing"),
    [
        (Layers("vgg19", ("conv4",)), "vgg19 has no layer conv4"),
        (Layers("resnet50", ("conv2", "relu1_1")), "resnet50 has no layer relu1_1"),
    ],
)
def test_layer_of_another_network_is_named(layers: Layers, missing: str) -> None:
    with pytest.raises(InvalidValueError, match=missing):
        FeatureExtractor(layers, Weights.from_seed(0), CPU)


def test_published_scale_divides_by_255() -> None:
    scaled = scale_input(
        torch.tensor([51.0]).view(1, 1, 1, 1), input_scale="published", detail=True
    )
    assert scaled.flatten().tolist() == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("detail", [False, True])
def test_imagenet_scale_removes_the_mean_of_images_but_not_of_detail(detail: bool) -> None:
    gray = torch.tensor([51.0]).view(1, 1, 1, 1)
    scaled = scale_input(gray, input_scale="imagenet", detail=detail)
    means = (0.0, 0.0, 0.0) if detail else (0.485, 0.456, 0.406)
    expected = [(0.2 - m) / s for m, s in zip(means, (0.229, 0.224, 0.225), strict=True)]
    assert scaled.flatten().tolist() == pytest.approx(expected, rel=1e-6)


# Reach and tiles


@cache
def influence_weights(backbone: BackboneName, layer: str) -> Weights:
    """Return weights that add up all that a pixel sees: nothing cancels, no bias hides it."""
    shapes = tensor_shapes(backbone)
    state = {}
    for name in needed_names(backbone, layer):
        shape = shapes[name]
        value = 1.0 / shape[1] if len(shape) > 1 else 0.0
        is_gain = name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight"))
        state[name] = np.full(shape, 1.0 if is_gain else value, np.float32)
    return Weights.from_file(save_arrays(state), "influence")


def farthest_look(extractor: FeatureExtractor) -> int:
    """Return how many pixels away the deepest layer looks, by lighting single pixels of a row."""
    stride, reach = extractor.strides[-1], extractor.receptive_radius
    middle = (reach // stride + 2) * stride
    positions = [middle, middle + reach % stride, middle - reach % stride]
    rows = torch.zeros(len(positions), 1, 1, 2 * middle)
    for row, position in zip(rows, positions, strict=True):
        row[..., position] = 255.0
    *_, maps = maps_of(extractor, rows)
    distances = [
        (each.sum(dim=(0, 1)).nonzero() * stride - position).abs().max()
        for each, position in zip(maps, positions, strict=True)
    ]
    return int(max(distances))


@pytest.mark.parametrize(
    "layers",
    [
        *(Layers("vgg19", (layer,)) for layer in VGG_LAYERS),
        *(
            Layers("resnet50", (layer,))
            for layer in ("conv1", "conv2", "conv3_1", "conv4", "conv5")
        ),
        Layers("resnet101", ("conv5",)),
        Layers("resnet152", ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")),
    ],
    ids=lambda layers: f"{layers.backbone}-{layers.names[-1]}",
)
def test_receptive_radius_is_how_far_away_a_pixel_matters(layers: Layers) -> None:
    weights = influence_weights(layers.backbone, layers.names[-1])
    # The rounding of Winograd's convolutions depends on more pixels.
    extractor = FeatureExtractor(layers, weights, CPU, convolution="direct")
    assert farthest_look(extractor) == extractor.receptive_radius


SMALL_TILES = {"longest_side": 40, "smallest_tile": 32}


def tiled_and_whole(
    layers: Layers,
    images: Tensor,
    reduction: Callable[[Tensor], Tensor],
    radius: int = 0,
) -> list[tuple[Tensor, Tensor]]:
    """Reduce images by small tiles, and whole."""
    weights = network_weights(layers.backbone, layers.names[-1])
    extractor = FeatureExtractor(layers, weights, CPU, **SMALL_TILES)
    tiles = Mock(wraps=extractor._scale)
    with torch.inference_mode():
        whole = [reduction(maps.clone()) for maps in extractor.extract(images)]
        extractor._scale = tiles
        tiled = extractor.reduce(images, reduction, radius=radius)
    assert tiles.call_count > 1
    return list(zip(tiled, whole, strict=True))


PLACES = [
    *((Layers("vgg19", (layer,)), (131, 37)) for layer in VGG_LAYERS),
    (Layers("vgg19", VGG_LAYERS, "relu"), (75, 163)),
    *((Layers("resnet50", (layer,)), (173, 45)) for layer in ALL_RESNET_LAYERS[:5]),
    *((Layers("resnet50", (layer,)), (301, 21)) for layer in ALL_RESNET_LAYERS[5:7]),
    *((Layers("resnet50", (layer,)), (593, 13)) for layer in ALL_RESNET_LAYERS[7:]),
    (Layers("resnet50", ALL_RESNET_LAYERS), (19, 563)),
    (Layers("resnet50", (*BEFORE_NORMALISATION, "conv5")), (593, 13)),
    (Layers("resnet152", ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")), (67, 141)),
    (Layers("resnet152", RESNET152_PUBLISHED), (67, 141)),
]


@pytest.mark.parametrize(
    ("layers", "size"),
    PLACES,
    ids=[f"{layers.backbone}-{'-'.join(layers.names)}" for layers, _ in PLACES],
)
def test_features_of_tiles_equal_those_of_the_whole_image(
    layers: Layers, size: tuple[int, int]
) -> None:
    results = tiled_and_whole(layers, image(size), lambda maps: maps.clone())
    assert max(deviation(tiled, whole.double().numpy()) for tiled, whole in results) < REORDERED


def test_images_of_a_batch_are_tiled_alike() -> None:
    batch = torch.cat((image((50, 41)), image((50, 41)).flip(2)))
    results = tiled_and_whole(Layers("vgg19", VGG_LAYERS[:3]), batch, l1_norm)
    assert max(deviation(tiled, whole.double().numpy()) for tiled, whole in results) < REORDERED


@pytest.mark.parametrize(
    "layers",
    [Layers("vgg19", ("relu2_1",)), Layers("resnet50", ("conv2",)), Layers("resnet50", ("conv3",))],
    ids=str,
)
def test_nuclear_norm_of_tiles_equals_that_of_the_whole_image(layers: Layers) -> None:
    def products(maps: Tensor) -> Tensor:
        return shifted_products(maps, radius=2)

    [(tiled, whole)] = tiled_and_whole(layers, image((141, 21)), products, radius=4)
    assert deviation(tiled, whole.numpy()) < REORDERED
    norms = nuclear_norm(tiled, radius=2), nuclear_norm(whole, radius=2)
    assert deviation(norms[0], norms[1].double().numpy()) < REORDERED


def test_image_not_longer_than_a_tile_is_extracted_whole() -> None:
    extractor = FeatureExtractor(
        Layers("vgg19", VGG_LAYERS[:2]), network_weights("vgg19", "relu2_1"), CPU, **SMALL_TILES
    )
    seen: list[torch.Size] = []

    def record(maps: Tensor) -> Tensor:
        seen.append(maps.shape[2:])
        return maps

    extractor.reduce(image((40, 39)), record)
    assert seen == [(40, 39), (20, 20)]
