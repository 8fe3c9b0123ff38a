from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save
from support import reference_backbones
from support.networks import (
    VGG_LAYERS,
    deviation,
    feature_extractor,
    needed_names,
    network_state,
    network_weights,
    source_images,
    tensor_shapes,
    whole_state,
)
from support.reference_backbones import RESNET_BLOCKS
from torch import Tensor

from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.methods.activity import l1_norm, nuclear_norm, shifted_products
from fusion_core.networks.backbones import FeatureExtractor, pack_layers, scale_input
from fusion_core.networks.layers import BackboneName, Layers, VggOutput
from fusion_core.networks.weights import Weights, read_tensors

CPU = torch.device("cpu")

RESNET_LAYERS = (
    "conv1", "conv2_1", "conv2", "conv3_1", "conv3", "conv4_1", "conv4", "conv5_1", "conv5",
)  # fmt: skip
"""Every layer of a ResNet that continues the network, in their order."""
BEFORE_NORMALISATION = (
    "conv1_convolution", "conv2_1_projection", "conv3_1_projection", "conv4_1_projection",
    "conv5_1_projection",
)  # fmt: skip
RESNET152_PUBLISHED = (*BEFORE_NORMALISATION[:2], "conv3", "conv4", "conv5")

SIZES = ((61, 47), (5, 7), (1, 1))
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
    found = maps_of(feature_extractor(Layers(backbone, RESNET_LAYERS)), image(size))
    state = network_state(backbone, "conv5")
    expected = reference_backbones.resnet_features(
        repeated(size), state, RESNET_BLOCKS[backbone], RESNET_LAYERS
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
    extractor = FeatureExtractor(layers, weights, CPU)
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
    *((Layers("resnet50", (layer,)), (173, 45)) for layer in RESNET_LAYERS[:5]),
    *((Layers("resnet50", (layer,)), (301, 21)) for layer in RESNET_LAYERS[5:7]),
    *((Layers("resnet50", (layer,)), (593, 13)) for layer in RESNET_LAYERS[7:]),
    (Layers("resnet50", RESNET_LAYERS), (19, 563)),
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


# Weight files


SHALLOW = Layers("resnet50", ("conv2",))
SMALL = (21, 17)


def torch_file(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


FILE_KINDS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {
    "safetensors": save,
    "torch": torch_file,
}
file_kinds = pytest.mark.parametrize("to_file", FILE_KINDS.values(), ids=FILE_KINDS)


def shallow_state() -> dict[str, Tensor]:
    """Return no more than what the first stage of ResNet-50 needs."""
    state = network_state("resnet50", "conv2")
    return {name: torch.from_numpy(values.copy()) for name, values in state.items()}


def load(data: bytes, layers: Layers = SHALLOW) -> FeatureExtractor:
    return FeatureExtractor(layers, Weights.from_file(data, "given.weights"), CPU)


def refusal(data: bytes, layers: Layers = SHALLOW) -> str:
    """Return why a file is refused, after checking that packing it is refused alike."""
    weights = Weights.from_file(data, "given.weights")
    with pytest.raises(WeightsError) as caught:
        FeatureExtractor(layers, weights, CPU)
    with pytest.raises(WeightsError) as packing:
        pack_layers(layers, weights)
    message = str(caught.value)
    assert message == str(packing.value)
    assert message.startswith("given.weights ")
    return message


def same_maps(first: FeatureExtractor, second: FeatureExtractor) -> bool:
    pairs = zip(maps_of(first, image(SMALL)), maps_of(second, image(SMALL)), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_whole_vgg19_file_is_packed_to_what_is_needed() -> None:
    data = save(whole_state("vgg19", "relu2_1"))
    layers = Layers("vgg19", VGG_LAYERS[:2])
    whole = Weights.from_file(data, "vgg19.safetensors")
    packed = pack_layers(layers, whole)
    assert packed.data is not None
    assert len(packed.data) < len(data) / 500
    assert sorted(read_tensors(packed)) == sorted(needed_names("vgg19", "relu2_1"))
    assert (packed.source, packed.sha256) == (whole.source, hashlib.sha256(data).hexdigest())
    assert same_maps(FeatureExtractor(layers, packed, CPU), feature_extractor(layers))


@file_kinds
def test_whole_resnet_file_is_accepted(to_file: Callable[[dict[str, Tensor]], bytes]) -> None:
    data = to_file(whole_state("resnet50", "conv2"))
    assert same_maps(load(data), feature_extractor(SHALLOW))


def test_packed_file_packs_to_itself() -> None:
    whole = Weights.from_file(save(whole_state("resnet50", "conv2")), "whole.safetensors")
    packed = pack_layers(SHALLOW, whole)
    again = pack_layers(SHALLOW, packed)
    assert again == packed
    assert again.sha256 == whole.sha256


@pytest.mark.parametrize(
    ("backbone", "layer", "head"),
    [("vgg19", "relu1_1", "classifier."), ("resnet50", "conv2", "fc.")],
)
def test_file_without_classifier_is_accepted(backbone: BackboneName, layer: str, head: str) -> None:
    state = whole_state(backbone, layer)
    body = {name: tensor for name, tensor in state.items() if not name.startswith(head)}
    assert len(body) < len(state)
    layers = Layers(backbone, (layer,))
    assert same_maps(load(save(body), layers), feature_extractor(layers))


def test_random_weights_pack_to_themselves() -> None:
    weights = Weights.from_seed(3)
    assert pack_layers(SHALLOW, weights) is weights


def test_counters_of_batches_are_no_matter() -> None:
    counters = {
        f"{name.removesuffix('running_var')}num_batches_tracked": torch.tensor(7)
        for name in shallow_state()
        if name.endswith("running_var")
    }
    assert counters
    with_counters = load(save(shallow_state() | counters))
    assert same_maps(with_counters, load(save(shallow_state())))


@file_kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floating_point_types_are_converted(
    dtype: torch.dtype, to_file: Callable[[dict[str, Tensor]], bytes]
) -> None:
    other = {name: tensor.to(dtype) for name, tensor in shallow_state().items()}
    rounded = {name: tensor.float() for name, tensor in other.items()}
    assert same_maps(load(to_file(other)), load(save(rounded)))


@pytest.mark.parametrize(
    ("given", "wanted", "difference"),
    [
        ("resnet50", "resnet101", "layer3.10.bn1.bias is missing"),
        ("resnet101", "resnet50", "layer3.10.bn1.bias is not part of it"),
        ("resnet101", "resnet152", "layer2.4.bn1.bias is missing"),
    ],
)
def test_file_of_another_resnet_is_refused(
    given: str, wanted: BackboneName, difference: str
) -> None:
    message = refusal(save(whole_state(given)), Layers(wanted, ("conv2",)))
    assert f"holds weights of another network: {difference}" in message


def test_vgg16_file_is_refused_for_vgg19() -> None:
    message = refusal(save(body_of("vgg16")), Layers("vgg19", ("relu1_1",)))
    assert "holds weights of another network: features.16.bias is missing" in message


def body_of(model: str) -> dict[str, Tensor]:
    return {
        name: torch.zeros(shape, dtype=torch.float16)
        for name, shape in tensor_shapes(model).items()
        if name.startswith("features.")
    }


@file_kinds
@pytest.mark.parametrize("name", ["conv1.weight", "layer1.2.bn3.running_var"])
def test_missing_tensor_is_named(name: str, to_file: Callable[[dict[str, Tensor]], bytes]) -> None:
    state = shallow_state()
    del state[name]
    assert f"holds weights of another network: {name} is missing" in refusal(to_file(state))


def test_missing_tensor_of_a_whole_file_is_named_though_it_is_not_needed() -> None:
    state = whole_state("resnet50", "conv2")
    del state["layer4.2.bn3.weight"]
    assert "layer4.2.bn3.weight is missing" in refusal(save(state))


@pytest.mark.parametrize("name", ["conv1.weight", "layer1.1.conv2.weight", "bn1.bias"])
def test_wrong_shape_is_named_with_both_shapes(name: str) -> None:
    state = shallow_state()
    shape = tuple(state[name].shape)
    state[name] = torch.zeros(*shape, 2)
    assert refusal(save(state)).endswith(f"expected {name} of {shape}, but got {(*shape, 2)}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("name", ["conv1.weight", "layer1.0.downsample.1.running_mean"])
def test_value_that_is_not_finite_is_refused(name: str, value: float) -> None:
    state = shallow_state()
    state[name].view(-1)[5] = value
    assert refusal(save(state)).endswith(f"holds NaN or infinite values in {name}")


@file_kinds
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_file_is_refused(
    share: float, to_file: Callable[[dict[str, Tensor]], bytes]
) -> None:
    data = to_file(shallow_state())
    assert "is not a weight file that can be read safely" in refusal(data[: int(share * len(data))])


class MakesFolder:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_pickled_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    folder = tmp_path / "executed"
    message = refusal(torch_file({**shallow_state(), "fc.bias": MakesFolder(folder)}))
    assert "is not a weight file that can be read safely" in message
    assert not folder.exists()


# Random weights


@pytest.mark.parametrize(
    ("shallow", "deep"),
    [
        (Layers("resnet50", ("conv2",)), Layers("resnet50", ("conv2", "conv4"))),
        (Layers("resnet50", ("conv2",)), Layers("resnet101", ("conv2", "conv3"))),
        (Layers("vgg19", ("relu2_1",)), Layers("vgg19", ("relu2_1", "relu4_1"))),
    ],
    ids=["resnet50", "resnet101", "vgg19"],
)
def test_random_layers_are_the_same_whatever_the_depth(shallow: Layers, deep: Layers) -> None:
    weights = Weights.from_seed(11)
    [expected] = maps_of(FeatureExtractor(shallow, weights, CPU), image(SMALL))
    found = maps_of(FeatureExtractor(deep, weights, CPU), image(SMALL))
    assert torch.equal(found[0], expected)


def test_random_weights_of_different_seeds_differ() -> None:
    first, second = (FeatureExtractor(SHALLOW, Weights.from_seed(seed), CPU) for seed in (1, 2))
    assert not same_maps(first, second)


def test_random_resnet_neither_dies_nor_explodes() -> None:
    extractor = FeatureExtractor(Layers("resnet101", RESNET_LAYERS), Weights.from_seed(0), CPU)
    spreads = [maps.std().item() for maps in maps_of(extractor, image((61, 47)))]
    assert 1e-2 < min(spreads) <= max(spreads) < 1e2
