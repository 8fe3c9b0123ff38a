from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from support.networks import source_images
from support.reference_data import read_gray, read_sources
from support.reference_densefuse import convolve, random_tensors

from fusion_core import fuse
from fusion_core.methods import METHODS, build_method
from fusion_core.networks.weights import Weights

SHAPES = {"c1": (1, 16), "c2": (16, 32), "c3": (32, 32), "c4": (32, 16), "c5": (16, 1)}
QUICK = 8

AGAINST_FLOAT64 = 1e-5
"""Over the largest value, or 10 gray levels if that is smaller."""


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 7), (13, 17)], ids=str)
@pytest.mark.parametrize("count", [2, 3])
def test_deepfuse_equals_a_float64_forward_pass(size: tuple[int, int], count: int) -> None:
    tensors = random_tensors(3, SHAPES)
    sources = [source_images(size, seed=seed)[0].astype(np.float64) for seed in range(count)]
    codes = []
    for source in sources:
        features = np.maximum(convolve(source[None], "c1", tensors), 0)
        codes.append(convolve(features, "c2", tensors))
    features = sum(codes[1:], start=codes[0])
    for layer in ("c3", "c4"):
        features = np.maximum(convolve(features, layer, tensors), 0)
    expected = convolve(features, "c5", tensors)[0]
    weights = Weights.from_file(save(tensors), "file")
    fuse_batch = build_method("deepfuse", METHODS["deepfuse"].parameters(), weights)
    found = fuse_batch(torch.from_numpy(np.stack(sources)).float()[:, None, None])[0, 0].numpy()
    assert np.abs(found - expected).max() < AGAINST_FLOAT64 * max(np.abs(expected).max(), 10.0)


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, marks=[] if pair == QUICK else [pytest.mark.slow])
        for pair in (1, 3, 5, 7, 8, 11, 12, 19)
    ],
)
def test_picture_of_the_authors_weights_is_met(pair: int, shared_reference: Path) -> None:
    ir, vis = read_sources(shared_reference, pair)
    weights = shared_reference / "weights/deepfuse_gray.safetensors"
    found = fuse(ir, vis, method="deepfuse", weights=str(weights)).astype(int)
    expected = read_gray(shared_reference / f"fused_compared/deepfuse/{pair}.png").astype(int)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() <= 5e-4
