from __future__ import annotations

import functools
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from support.reference_densefuse import densefuse, minmax, random_tensors
from torch import Tensor

from fusion_core.methods import FuseBatch, build_method, get_method
from fusion_core.methods import densefuse as implementation
from fusion_core.methods.densefuse import DenseFuseNetwork, DenseFuseParameters, build_densefuse
from fusion_core.methods.fusion import fuse_images
from fusion_core.networks.state_dicts import load_weights
from fusion_core.networks.weights import Weights

Gray = NDArray[np.uint8]
CPU = torch.device("cpu")

Strategy = Literal["addition", "mean", "l1_norm"]
STRATEGIES = get_args(Strategy)
SIZES = ((1, 1), (1, 9), (9, 1), (2, 2), (2, 7), (5, 5), (13, 17))

AGAINST_FLOAT64 = 1e-5
"""Over the largest value; the largest deviation of float32 measured is 1.6e-6."""

REORDERED = 5e-6
"""Other batch or tile sizes let sums run in another order; the largest effect is 1.1e-6."""


@functools.cache
def file_weights(seed: int) -> Weights:
    return Weights.from_file(save(random_tensors(seed)), f"seed-{seed}.safetensors")


def parameters(**values: object) -> DenseFuseParameters:
    return DenseFuseParameters.parse(values)


def build(seed: int, **values: object) -> FuseBatch:
    return build_method("densefuse", parameters(**values), file_weights(seed))


def noise(seed: int, *shape: int) -> Gray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def to_sources(*groups: list[Gray]) -> Tensor:
    """Stack K lists of B images to `(K, B, 1, H, W)`."""
    return torch.from_numpy(np.stack([np.stack(group) for group in groups])).unsqueeze(2).float()


def fuse(fuse_batch: FuseBatch, sources: Tensor) -> Tensor:
    with torch.inference_mode():
        return fuse_batch(sources)


def relative_error(found: Tensor | NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_densefuse_equals_a_float64_forward_pass(strategy: str) -> None:
    for size in SIZES:
        sources = [noise(1, *size), noise(2, *size)]
        expected = densefuse(sources, random_tensors(3), strategy)
        found = fuse(build(3, strategy=strategy), to_sources(*([image] for image in sources)))
        assert relative_error(found[0, 0], expected) < AGAINST_FLOAT64, size


def test_l1_norm_equals_a_float64_forward_pass_at_every_radius() -> None:
    sources = [noise(1, 11, 8), noise(2, 11, 8)]
    for radius in (0, 2, 3, 20):
        expected = densefuse(sources, random_tensors(4), "l1_norm", radius)
        fuse_batch = build(4, strategy="l1_norm", radius=radius)
        found = fuse(fuse_batch, to_sources(*([image] for image in sources)))
        assert relative_error(found[0, 0], expected) < AGAINST_FLOAT64, radius


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_densefuse_fuses_three_sources(strategy: str) -> None:
    sources = [noise(seed, 7, 9) for seed in (1, 2, 3)]
    expected = densefuse(sources, random_tensors(5), strategy)
    found = fuse(build(5, strategy=strategy), to_sources(*([image] for image in sources)))
    assert relative_error(found[0, 0], expected) < AGAINST_FLOAT64


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fused_image_is_within_one_gray_level_of_the_reference(strategy: str) -> None:
    for size in SIZES[1:]:
        ir, vis = noise(6, *size), noise(7, *size)
        expected = minmax(densefuse([ir, vis], random_tensors(8), strategy))
        chosen = parameters(strategy=strategy)
        (found,) = fuse_images(build(8, strategy=strategy), [ir], [vis], chosen)
        assert np.abs(found.astype(int) - expected).max() <= 1, size


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_result_does_not_depend_on_batch_mates(strategy: str) -> None:
    ir, vis = [noise(i, 14, 9) for i in range(4)], [noise(i + 9, 14, 9) for i in range(4)]
    ir[1], vis[1] = ir[1] // np.uint8(50), vis[1] // np.uint8(50)
    fuse_batch = build(3, strategy=strategy)
    together = fuse(fuse_batch, to_sources(ir, vis))
    alone = [fuse(fuse_batch, to_sources([a], [b])) for a, b in zip(ir, vis, strict=True)]
    assert relative_error(together, torch.cat(alone).double().numpy()) < REORDERED


def test_output_range_does_not_depend_on_batch_mates() -> None:
    ir, vis = [noise(1, 14, 9), noise(2, 14, 9) // 9], [noise(3, 14, 9), noise(4, 14, 9) // 9]
    fuse_batch, chosen = build(3), parameters()
    together = fuse_images(fuse_batch, ir, vis, chosen)
    alone = [fuse_images(fuse_batch, [ir[i]], [vis[i]], chosen)[0] for i in range(2)]
    assert np.abs(np.stack(together).astype(int) - np.stack(alone)).max() <= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_result_does_not_depend_on_the_order_of_the_sources(strategy: str) -> None:
    sources = to_sources([noise(1, 12, 9)], [noise(2, 12, 9)])
    fuse_batch = build(3, strategy=strategy)
    result = fuse(fuse_batch, sources)
    swapped = fuse(fuse_batch, sources.flip(0))
    assert relative_error(swapped, result.double().numpy()) < REORDERED


@pytest.mark.parametrize(
    ("strategy", "radius"),
    [("addition", 1), ("mean", 1), ("l1_norm", 0), ("l1_norm", 1), ("l1_norm", 3)],
)
def test_image_larger_than_a_tile_is_fused_as_if_whole(strategy: Strategy, radius: int) -> None:
    chosen = parameters(strategy=strategy, radius=radius)
    by_default = build_densefuse(chosen, file_weights(9), CPU)
    in_tiles = build_densefuse(chosen, file_weights(9), CPU, tile=16)
    network = DenseFuseNetwork()
    load_weights(network, file_weights(9))
    for size in ((258, 261), (257, 3), (1, 600), (50, 37), (17, 16), (1, 61)):
        sources = to_sources([noise(1, *size)], [noise(2, *size)])
        with torch.inference_mode():
            whole = implementation.densefuse(sources, network, strategy=strategy, radius=radius)
        tiled = fuse(by_default if max(size) > 256 else in_tiles, sources)
        assert relative_error(tiled, whole.double().numpy()) < REORDERED, size


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_flat_sources_give_a_flat_image(strategy: str) -> None:
    chosen = parameters(strategy=strategy)
    for seed in (1, 3):
        fuse_batch = build_method("densefuse", chosen, Weights.from_seed(seed))
        for size in ((65, 71), (1, 7), (30, 1), (2, 2)):
            for levels in ((100, 50), (255, 255), (1, 0), (0, 0)):
                ir, vis = (np.full(size, level, dtype=np.uint8) for level in levels)
                (fused,) = fuse_images(fuse_batch, [ir], [vis], chosen)
                assert np.ptp(fused) <= 1, (seed, size, levels)


def test_output_has_the_size_of_the_sources_and_one_channel() -> None:
    result = fuse(build(1), to_sources([noise(1, 6, 11)] * 3, [noise(2, 6, 11)] * 3))
    assert (result.shape, result.dtype) == ((3, 1, 6, 11), torch.float32)


def test_sources_are_left_alone() -> None:
    sources = to_sources([noise(1, 6, 11)], [noise(2, 6, 11)])
    copy = sources.clone()
    fuse(build(1), sources)
    assert torch.equal(sources, copy)


def test_untrained_weights_fuse_too() -> None:
    sources = to_sources([noise(1, 6, 11)], [noise(2, 6, 11)])
    result = fuse(build_method("densefuse", parameters(), Weights.from_seed(0)), sources)
    assert torch.isfinite(result).all()
    assert result.std() > 0


def test_published_output_range_is_the_default() -> None:
    assert get_method("densefuse").parameters().output_range == "minmax"
