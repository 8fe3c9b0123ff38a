"""Weights of backbones: files that are accepted, packed or refused, and random ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from support.networks import (
    ALL_RESNET_LAYERS,
    VGG_LAYERS,
    feature_extractor,
    needed_names,
    network_state,
    source_images,
    tensor_shapes,
    whole_state,
)
from support.weight_files import MakesFolder, torch_file
from torch import Tensor

from fusion_core.errors import WeightsError
from fusion_core.networks.backbones import FeatureExtractor, pack_layers
from fusion_core.networks.layers import BackboneName, Layers
from fusion_core.networks.state_dicts import read_tensors
from fusion_core.networks.weights import Weights

CPU = torch.device("cpu")


def image(size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(source_images(size)[1]).float()[None, None]


def maps_of(extractor: FeatureExtractor, images: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [maps.clone() for maps in extractor.extract(images)]


SHALLOW = Layers("resnet50", ("conv2",))
SMALL = (21, 17)


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
    extractor = FeatureExtractor(Layers("resnet101", ALL_RESNET_LAYERS), Weights.from_seed(0), CPU)
    spreads = [maps.std().item() for maps in maps_of(extractor, image((61, 47)))]
    assert 1e-2 < min(spreads) <= max(spreads) < 1e2
