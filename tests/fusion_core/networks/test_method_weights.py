"""The weights that each method gets: its own, those of torchvision, of a file, or random ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from safetensors.torch import save
from support.weight_files import torch_file
from support.weight_server import publish
from torch import Tensor

from fusion_core.errors import WeightsError
from fusion_core.methods import METHODS, build_method, find_weights
from fusion_core.methods.base import FileWeights, ImageNetWeights
from fusion_core.networks.state_dicts import read_tensors
from fusion_core.networks.weights import Weights

WITH_BACKBONE = [
    name for name, spec in METHODS.items() if isinstance(spec.weights, ImageNetWeights)
]
WITHOUT_BACKBONE = [name for name, spec in METHODS.items() if isinstance(spec.weights, FileWeights)]
INCLUDED = [
    name
    for name, spec in METHODS.items()
    if isinstance(spec.weights, FileWeights) and spec.weights.bundled(spec.parameters())
]
WITH_NETWORK = [name for name, spec in METHODS.items() if spec.needs_weights]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's folder of this test, which does not exist yet."""
    folder = tmp_path / "torch"
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder


def find(
    method: str,
    source: str | None,
    files: dict[str, bytes] | None = None,
    **parameters: Any,
) -> Weights | None:
    parsed = METHODS[method].parameters.parse(parameters)
    return find_weights(method, parsed, source, (files or {}).__getitem__)


def state_of(backbone: str, *, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Return a state dict of torchvision's names and shapes, all zeros."""
    with torch.device("meta"):
        network = getattr(torchvision.models, backbone)(weights=None)
    return {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in network.state_dict().items()
        if not name.startswith(without)
    }


@pytest.fixture(scope="module")
def resnet50_file() -> bytes:
    return save(state_of("resnet50"))


@pytest.mark.parametrize("method", WITH_NETWORK)
def test_random_weights_do_for_every_method(method: str) -> None:
    assert find(method, "random:12") == Weights.from_seed(12)


@pytest.mark.parametrize("method", WITH_NETWORK)
def test_random_weights_without_a_seed_are_refused_for_every_method(method: str) -> None:
    with pytest.raises(WeightsError, match=r"Expected random:SEED .* but got 'random:seed'"):
        find(method, "random:seed")


@pytest.mark.parametrize("method", INCLUDED)
def test_weights_that_come_with_irfuse_are_the_default(method: str) -> None:
    weights = find(method, None)
    assert weights is not None
    assert (weights.source, weights.trained) == (f"irfuse:{method}", True)


def test_error_for_missing_weights_contains_the_remedy() -> None:
    parameters = METHODS["res2netfuse"].parameters.parse({"convolutions": "separate"})
    weights = find_weights("res2netfuse", parameters, None, lambda source: b"")
    assert weights is None
    with pytest.raises(WeightsError) as caught:
        build_method("res2netfuse", parameters, weights)
    assert str(caught.value) == (
        "res2netfuse needs weights: give the trained autoencoder with --weights FILE (safetensors "
        "or a PyTorch state dict with c1, c2, r1, split, r2, d1, d2, d3, d4), or --weights "
        "random:0 for an untrained dry run"
    )


@pytest.mark.parametrize("method", WITHOUT_BACKBONE)
def test_a_method_with_a_network_of_its_own_gets_its_file_as_it_is(method: str) -> None:
    weights = find(method, "mine", {"mine": b"any bytes"})
    assert weights == Weights.from_file(b"any bytes", "mine")


@pytest.mark.parametrize(
    ("method", "parameters", "name"),
    [
        ("vgg_multilayer", {}, "VGG19_Weights.IMAGENET1K_V1"),
        ("resnet_zca", {}, "ResNet50_Weights.IMAGENET1K_V1"),
        ("resnet_zca", {"backbone": "resnet101"}, "ResNet101_Weights.IMAGENET1K_V1"),
        ("resnet_zca", {"backbone": "vgg19"}, "VGG19_Weights.IMAGENET1K_V1"),
        ("resnet152", {}, "ResNet152_Weights.IMAGENET1K_V1"),
    ],
)
def test_a_method_on_an_imagenet_network_has_torchvisions_weights_by_default(
    method: str, parameters: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, path: str, **options: object) -> None:
        raise OSError(0, "no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(WeightsError, match=rf"^{re.escape(name)} is not on this machine"):
        find(method, None, **parameters)


def test_torchvisions_weights_are_found_by_name_and_packed(
    monkeypatch: pytest.MonkeyPatch, home: Path, resnet50_file: bytes
) -> None:
    digest = hashlib.sha256(resnet50_file).hexdigest()
    path = home / "hub" / "checkpoints" / f"resnet50-{digest[:8]}.pth"
    publish(monkeypatch, f"http://127.0.0.1:1/{path.name}")
    path.parent.mkdir(parents=True)
    path.write_bytes(resnet50_file)
    named, default = (
        find("resnet_zca", source, layer="conv2")
        for source in ("ResNet50_Weights.IMAGENET1K_V1", None)
    )
    assert named is not None
    assert named == default
    assert (named.source, named.sha256) == ("ResNet50_Weights.IMAGENET1K_V1", digest)
    assert len(named.data or b"") < 1_000_000


@pytest.mark.parametrize(
    ("layer", "deepest"),
    [("conv2", "layer1.2"), ("conv3", "layer2.3"), ("conv4", "layer3.5"), ("conv5", "layer4.2")],
)
def test_only_what_the_layer_needs_of_a_file_is_kept(
    resnet50_file: bytes, layer: str, deepest: str
) -> None:
    weights = find("resnet_zca", "mine", {"mine": resnet50_file}, layer=layer)
    assert weights is not None
    tensors = read_tensors(weights)
    assert max(name for name in tensors if name.startswith("layer")).startswith(deepest)
    assert not any(name.endswith("num_batches_tracked") for name in tensors)
    assert not any(name.startswith("fc.") for name in tensors)


def test_what_is_kept_is_what_the_file_holds() -> None:
    state = state_of("resnet50")
    state["layer1.0.conv1.weight"] = torch.arange(4096.0).view(64, 64, 1, 1)
    weights = find("resnet_zca", "mine", {"mine": torch_file(state)}, layer="conv2")
    assert weights is not None
    assert torch.equal(read_tensors(weights)["layer1.0.conv1.weight"].flatten(), torch.arange(4096))


def test_packed_weights_are_known_by_the_digest_of_the_whole_file(resnet50_file: bytes) -> None:
    for layer in ("conv2", "conv3"):
        weights = find("resnet_zca", "mine", {"mine": resnet50_file}, layer=layer)
        assert weights is not None
        assert weights.sha256 == hashlib.sha256(resnet50_file).hexdigest()
        assert (weights.source, weights.trained) == ("mine", True)


def test_only_the_convolutions_that_vgg_multilayer_reads_are_kept() -> None:
    data = save(state_of("vgg19", without=("classifier.",)))
    weights = find("vgg_multilayer", "mine", {"mine": data})
    assert weights is not None
    assert weights.sha256 == hashlib.sha256(data).hexdigest()
    assert sorted(read_tensors(weights)) == sorted(
        f"features.{index}.{part}"
        for index in (0, 2, 5, 7, 10, 12, 14, 16, 19)
        for part in ("weight", "bias")
    )


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("vgg_multilayer", {}), ("resnet_zca", {"backbone": "resnet101"}), ("resnet152", {})],
)
def test_a_file_of_another_network_is_refused(
    method: str, parameters: dict[str, Any], resnet50_file: bytes
) -> None:
    with pytest.raises(WeightsError, match="mine holds weights of another network"):
        find(method, "mine", {"mine": resnet50_file}, **parameters)


@pytest.mark.parametrize("method", WITH_BACKBONE)
def test_a_file_that_is_no_weight_file_is_refused(method: str) -> None:
    with pytest.raises(WeightsError, match="mine is not a weight file that can be read safely"):
        find(method, "mine", {"mine": b"<html>"})


def test_a_file_without_a_layer_that_is_needed_is_refused_by_its_name() -> None:
    state = state_of("resnet50", without=("layer3.4.conv2",))
    with pytest.raises(WeightsError, match=r"layer3\.4\.conv2\.weight is missing \(1 of"):
        find("resnet_zca", "mine", {"mine": save(state)})
