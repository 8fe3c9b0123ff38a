from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from support.networks import source_images
from support.reference_densefuse import Maps, Tensors, convolve, l1_norm, random_tensors

from fusion_core.methods import METHODS, build_method
from fusion_core.networks.weights import Weights

SHAPES: dict[str, tuple[int, ...]] = {
    "c1": (1, 16), "dc1": (16, 16), "dc2": (32, 16), "dc3": (48, 16),
    "m1": (64, 64, 1), "m3": (64, 64, 3), "m5": (64, 64, 5),
    "c2": (192, 64), "c3": (64, 32), "c4": (32, 16), "c5": (16, 1),
}  # fmt: skip

AGAINST_FLOAT64 = 1e-5
"""Over the largest value, or 10 gray levels if that is smaller."""


def relu_of(maps: Maps, layer: str, tensors: Tensors) -> Maps:
    return np.maximum(convolve(maps, layer, tensors), 0)


def encode(image: Maps, tensors: Tensors) -> Maps:
    features = relu_of(image, "c1", tensors)
    for layer in ("dc1", "dc2", "dc3"):  # the new maps come first
        features = np.concatenate([relu_of(features, layer, tensors), features])
    return np.concatenate([relu_of(features, layer, tensors) for layer in ("m1", "m3", "m5")])


@pytest.mark.parametrize("strategy", ["addition", "mean", "l1_norm"])
def test_msdnet_equals_a_float64_forward_pass(strategy: str) -> None:
    tensors = random_tensors(5, SHAPES)
    weights = Weights.from_file(save(tensors), "file")
    parameters = METHODS["msdnet"].parameters.parse({"strategy": strategy})
    fuse_batch = build_method("msdnet", parameters, weights)
    for size in ((1, 1), (1, 9), (2, 7), (3, 3), (13, 17)):
        sources = [source_images(size, seed=seed)[0].astype(np.float64) for seed in (1, 2)]
        features = [encode(source[None], tensors) for source in sources]
        if strategy == "l1_norm":
            fused = l1_norm(features, 0)
        else:
            fused = (features[0] + features[1]) / (2 if strategy == "mean" else 1)
        for layer in ("c2", "c3", "c4"):
            fused = relu_of(fused, layer, tensors)
        expected = convolve(fused, "c5", tensors)[0]
        given = torch.from_numpy(np.stack(sources)).float()[:, None, None]
        found = fuse_batch(given)[0, 0].numpy()
        largest = max(np.abs(expected).max(), 10.0)
        assert np.abs(found - expected).max() < AGAINST_FLOAT64 * largest, size


def test_tiles_give_the_result_of_the_whole_image() -> None:
    weights = Weights.from_file(save(random_tensors(6, SHAPES)), "file")
    fuse_batch = build_method("msdnet", METHODS["msdnet"].parameters(), weights)
    given = torch.from_numpy(np.stack(source_images((30, 230)))).float()[:, None, None]
    with torch.inference_mode():
        whole = fuse_batch(given)  # in two tiles
        part = fuse_batch(given[..., 60:170])  # in one
    inner = whole[..., 60:170]
    margin = slice(10, -10)
    assert (part[..., margin] - inner[..., margin]).abs().max() < 1e-5 * whole.abs().max()
