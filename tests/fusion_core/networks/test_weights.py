from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from support.reference_densefuse import CHANNELS, random_tensors
from support.weight_files import MakesFolder, torch_file
from torch import Tensor

from fusion_core.errors import WeightsError
from fusion_core.methods import build_method
from fusion_core.methods.densefuse import DenseFuseNetwork, DenseFuseParameters
from fusion_core.networks.state_dicts import load_weights, read_tensors
from fusion_core.networks.weights import Weights, parse_random_weights

Tensors = dict[str, Tensor]


def good_tensors() -> Tensors:
    return {name: torch.from_numpy(values) for name, values in random_tensors(1).items()}


def load(data: bytes, source: str = "given.weights") -> DenseFuseNetwork:
    network = DenseFuseNetwork()
    load_weights(network, Weights.from_file(data, source))
    return network


def load_random(source: str) -> DenseFuseNetwork:
    network = DenseFuseNetwork()
    weights = parse_random_weights(source)
    assert weights is not None
    load_weights(network, weights)
    return network


def refusal(data: bytes) -> str:
    """Return why a weight file is refused, after checking that it is one clean line."""
    with pytest.raises(WeightsError) as caught:
        load(data)
    message = str(caught.value)
    assert message.startswith("given.weights ")
    assert message.isprintable()
    return message


def replace_pickle(data: bytes, content: bytes) -> bytes:
    """Put another pickle into a PyTorch file, all checksums right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return buffer.getvalue()


FILE_KINDS: dict[str, Callable[[Tensors], bytes]] = {"safetensors": save, "torch": torch_file}
file_kinds = pytest.mark.parametrize("to_file", FILE_KINDS.values(), ids=FILE_KINDS)


@file_kinds
def test_state_dict_is_loaded_bit_by_bit(to_file: Callable[[Tensors], bytes]) -> None:
    tensors = good_tensors()
    state = load(to_file(tensors)).state_dict()
    assert sorted(state) == sorted(tensors)
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)


def test_state_dict_of_parameters_is_loaded() -> None:
    network = DenseFuseNetwork()
    loaded = load(torch_file(network.state_dict(keep_vars=True)))
    assert torch.equal(loaded.c3.weight, network.c3.weight)


def test_published_weights_are_loaded(shared_reference: Path) -> None:
    files = sorted((shared_reference / "weights").glob("densefuse_gray_*.safetensors"))
    networks = [load(path.read_bytes()) for path in files]
    assert len({network.c1.weight.sum().item() for network in networks}) == len(files) == 4


@file_kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floating_point_types_are_converted(
    to_file: Callable[[Tensors], bytes], dtype: torch.dtype
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in good_tensors().items()}
    network = load(to_file(tensors))
    assert network.c2.weight.dtype == torch.float32
    assert torch.equal(network.c2.weight, tensors["c2.weight"].float())


@pytest.mark.parametrize(
    "to_file",
    [pickle.dumps, torch_file, lambda x: torch_file(x, _use_new_zipfile_serialization=False)],
    ids=["pickle", "torch", "old torch"],
)
def test_pickle_with_code_is_refused_and_not_executed(
    to_file: Callable[[Any], bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "executed"
    data = to_file({**good_tensors(), "c1.weight": MakesFolder(folder)})
    assert "is not a weight file that can be read safely" in refusal(data)
    assert not folder.exists()


def test_refused_pickle_does_not_advise_to_load_it_unsafely() -> None:
    message = refusal(torch_file({"c1.weight": MakesFolder(Path("never"))}))
    assert "weights_only" not in message
    assert "can still be loaded" not in message


def test_whole_pickled_network_is_refused() -> None:
    assert "a PyTorch state dict of tensors alone" in refusal(torch_file(DenseFuseNetwork()))


NO_STATE_DICTS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(good_tensors().values()),
    "tensor": lambda: torch.zeros(3),
    "nested": lambda: {"state_dict": good_tensors()},
    "with epoch": lambda: {**good_tensors(), "epoch": 4},
    "nothing": lambda: None,
}


@pytest.mark.parametrize("name", NO_STATE_DICTS)
def test_torch_file_without_a_state_dict_is_refused(name: str) -> None:
    assert "does not hold a state dict of tensors" in refusal(torch_file(NO_STATE_DICTS[name]()))


NO_WEIGHTS = {
    "nothing": b"",
    "text": b"not a weight file",
    "zeros": bytes(4096),
    "HTML": b"<!DOCTYPE html><html>404</html>",
    "zip signature": b"PK\x03\x04",
    "image": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_file_that_is_no_weight_file_is_refused_with_what_is_expected(name: str) -> None:
    assert "expected safetensors, or a PyTorch state dict" in refusal(NO_WEIGHTS[name])


@file_kinds
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_truncated_weight_file_is_refused(
    to_file: Callable[[Tensors], bytes], share: float
) -> None:
    data = to_file(good_tensors())
    assert "can be read safely" in refusal(data[: int(share * len(data))])


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02", b"hello", b".", b"h\x05.", b"N\x85R.", b"]"],
    ids=["empty", "cut", "text", "stop", "no memo", "no function", "no end"],
)
def test_torch_file_with_a_damaged_pickle_is_refused(content: bytes) -> None:
    assert "can be read safely" in refusal(replace_pickle(torch_file(good_tensors()), content))


@file_kinds
def test_missing_tensor_is_named(to_file: Callable[[Tensors], bytes]) -> None:
    tensors = good_tensors()
    del tensors["dc2.weight"]
    message = refusal(to_file(tensors))
    assert message.endswith("another network: dc2.weight is missing (1 of 16 are)")


def test_weights_of_another_network_are_refused_by_the_first_name() -> None:
    message = refusal(save({"conv1.weight": torch.zeros(3)}))
    assert message.endswith("another network: c1.bias is missing (16 of 16 are)")


@file_kinds
def test_additional_tensor_is_named(to_file: Callable[[Tensors], bytes]) -> None:
    message = refusal(to_file({**good_tensors(), "c6.bias": torch.zeros(1)}))
    assert message.endswith("another network: c6.bias is not part of it")


@pytest.mark.parametrize("layer", CHANNELS)
def test_wrong_shape_is_named_with_both_shapes(layer: str) -> None:
    tensors = good_tensors()
    inputs, outputs = CHANNELS[layer]
    tensors[f"{layer}.weight"] = torch.zeros(outputs, inputs, 5, 5)
    assert refusal(save(tensors)).endswith(
        f"expected {layer}.weight of ({outputs}, {inputs}, 3, 3), "
        f"but got ({outputs}, {inputs}, 5, 5)"
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_tensor_that_is_not_floating_point_is_refused(dtype: torch.dtype) -> None:
    tensors = {**good_tensors(), "c4.bias": torch.zeros(16, dtype=dtype)}
    message = refusal(save(tensors))
    assert message.endswith(f"expected c4.bias as floating point, but got {dtype}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_value_that_is_not_finite_is_refused(value: float) -> None:
    tensors = good_tensors()
    tensors["c3.weight"][1, 2, 0, 1] = value
    assert refusal(save(tensors)).endswith("holds NaN or infinite values in c3.weight")


def test_refused_weights_leave_the_network_as_it_was() -> None:
    network = DenseFuseNetwork()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = good_tensors()
    tensors["c5.bias"] = torch.zeros(9)
    with pytest.raises(WeightsError):
        load_weights(network, Weights.from_file(save(tensors), "given"))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def test_file_is_known_by_its_digest_and_trained() -> None:
    weights = Weights.from_file(b"some bytes", "s3://bucket/a.safetensors")
    assert weights.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert (weights.source, weights.trained) == ("s3://bucket/a.safetensors", True)


def test_random_weights_are_known_by_their_seed_and_untrained() -> None:
    weights = parse_random_weights("random:17")
    assert weights is not None
    assert (weights.source, weights.sha256, weights.trained) == ("random:17", "random:17", False)


def random_network(seed: int) -> Tensors:
    network = DenseFuseNetwork()
    load_weights(network, Weights.from_seed(seed))
    return network.state_dict()


def test_random_weights_are_the_same_wherever_the_seed_is_the_same() -> None:
    torch.manual_seed(1)
    first = random_network(17)
    torch.manual_seed(2)
    second = random_network(17)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_random_weights_of_different_seeds_differ() -> None:
    first, second = random_network(17), random_network(18)
    assert not any(torch.equal(first[name], second[name]) for name in first if "weight" in name)


def test_random_weights_are_drawn_layer_by_layer_from_one_generator() -> None:
    first = random_network(0)["c1.weight"].flatten()[:3].tolist()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.empty(16, 1, 3, 3).normal_(0, (2 / 9) ** 0.5, generator=generator)
    assert first == drawn.flatten()[:3].tolist()


@pytest.mark.parametrize("layer", ["c2", "c3", "dc3"])
def test_random_weights_are_he_normal_without_bias(layer: str) -> None:
    state = random_network(3)
    expected = (2 / (9 * CHANNELS[layer][0])) ** 0.5
    assert state[f"{layer}.weight"].std().item() == pytest.approx(expected, rel=0.03)
    assert not state[f"{layer}.bias"].any()


@pytest.mark.parametrize(
    "text", ["weights.safetensors", "s3://b/random:1", "random", "Random:1", ""]
)
def test_other_text_is_not_random_weights(text: str) -> None:
    assert parse_random_weights(text) is None


@pytest.mark.parametrize(
    "text", ["random:", "random:-1", "random:1.5", "random:x", "random: 1", "random:1 "]
)
def test_random_weights_without_a_whole_number_are_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"Expected random:SEED with a whole number.* but got"):
        parse_random_weights(text)


@pytest.mark.parametrize("seed", [2**32, 2**63, 2**64 - 1])
def test_large_seed_is_used(seed: int) -> None:
    assert load_random(f"random:{seed}").c1.weight.any()


@pytest.mark.parametrize("seed", [2**64, 10**30])
def test_seed_beyond_the_generators_range_is_refused(seed: int) -> None:
    with pytest.raises(WeightsError, match=str(seed)):
        load_random(f"random:{seed}")


def test_method_without_weights_says_what_to_give() -> None:
    with pytest.raises(WeightsError, match=r"--weights FILE .*or --weights random:0"):
        build_method("densefuse", DenseFuseParameters(), None)


def test_read_tensors_are_what_the_file_holds() -> None:
    tensors = read_tensors(Weights.from_file(save({"any.name": torch.arange(3)}), "given"))
    assert [(name, tensor.tolist()) for name, tensor in tensors.items()] == [
        ("any.name", [0, 1, 2])
    ]


def test_weights_are_not_shared_with_the_file_bytes() -> None:
    data = save(good_tensors())
    network = load(data)
    with torch.no_grad():
        network.c1.weight.zero_()
    assert np.any(load(data).c1.weight.detach().numpy())
