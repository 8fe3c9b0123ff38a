from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import save
from support.networks import source_images
from support.reference_densefuse import Tensors, random_tensors

from fusion_core.errors import InvalidValueError
from fusion_core.methods import METHODS, FuseBatch, build_method
from fusion_core.methods.fusiongan import (
    FusionGanNetwork,
    fusiongan,
    measure_moments,
    scale_levels,
)
from fusion_core.networks.weights import Weights

Maps = NDArray[np.float64]

SHAPES: dict[str, tuple[int, ...]] = {
    "c1": (2, 256, 5), "c2": (256, 128, 5), "c3": (128, 64, 3), "c4": (64, 32, 3), "c5": (32, 1, 1)
}  # fmt: skip


def convolve(maps: Maps, layer: str, tensors: Tensors) -> Maps:
    """Convolve `(C, H, W)` without padding."""
    weight, bias = (tensors[f"{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    windows = sliding_window_view(maps, weight.shape[2:], axis=(1, 2))
    result: Maps = np.einsum("oiyx,ihwyx->ohw", weight, windows, optimize=True)
    return result + bias[:, None, None]


def expected_image(sources: list[Maps], tensors: Tensors) -> Maps:
    """Return what the published program computes, in float64."""
    pair = np.stack([(source - 127.5) / 127.5 for source in sources])
    maps = np.pad(pair, ((0, 0), (6, 6), (6, 6)), mode="edge")
    for layer in ("c1", "c2", "c3", "c4"):
        maps = convolve(maps, layer, tensors)
        mean, variance = (f(maps, axis=(1, 2), keepdims=True) for f in (np.mean, np.var))
        maps = (maps - mean) / np.sqrt(variance + 1e-5)
        maps = np.maximum(maps, 0.2 * maps)
    image: Maps = np.tanh(convolve(maps, "c5", tensors))[0]
    return image * 127.5 + 127.5


def build(tensors: Tensors) -> FuseBatch:
    weights = Weights.from_file(save(tensors), "file")
    return build_method("fusiongan", METHODS["fusiongan"].parameters(), weights)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 7), (13, 17)])
def test_fusiongan_equals_a_float64_forward_pass(size: tuple[int, int]) -> None:
    tensors = random_tensors(5, SHAPES)
    sources = [source_images(size, seed=seed)[0].astype(np.float64) for seed in (1, 2)]
    given = torch.from_numpy(np.stack(sources)).float()[:, None, None]
    found = build(tensors)(given)[0, 0].numpy()
    assert np.abs(found - expected_image(sources, tensors)).max() < 1e-3


def test_stripes_give_the_result_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    fuse_batch = build(random_tensors(6, SHAPES))
    given = torch.from_numpy(np.stack(source_images((30, 23)))).float()[:, None, None]
    whole = fuse_batch(given)
    monkeypatch.setattr("fusion_core.methods.fusiongan._STRIPE_PIXELS", 250)
    assert (fuse_batch(given) - whole).abs().max() < 1e-3


def test_one_pass_that_holds_all_layers_gives_the_same() -> None:
    network = FusionGanNetwork().requires_grad_(False)
    given = torch.from_numpy(np.stack(source_images((20, 21)))).float()[:, None, None]
    pair = torch.cat(tuple(scale_levels(given)), dim=1)
    at_once = network(torch.nn.functional.pad(pair, (6,) * 4, mode="replicate"), measure_moments)
    assert torch.allclose(at_once * 127.5 + 127.5, fusiongan(given, network), atol=1e-3)


def test_a_third_source_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="fusiongan fuses 2 sources, but got 3"):
        fusiongan(torch.zeros(3, 1, 1, 5, 5), FusionGanNetwork())
