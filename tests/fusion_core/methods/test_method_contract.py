"""What every method keeps, whatever it computes; weights are random."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from support.networks import source_images
from torch import Tensor

from fusion_core.methods import METHODS, FuseBatch, build_method
from fusion_core.methods.base import FileWeights, ImageNetWeights
from fusion_core.networks.weights import Weights

SIZE = (33, 20)
ON_BACKBONES = [name for name, spec in METHODS.items() if isinstance(spec.weights, ImageNetWeights)]

ALIKE = [name for name, spec in METHODS.items() if not isinstance(spec.weights, FileWeights)]
"""Methods that compute an image of a batch by the very operations with which they compute it alone,
and whose results are in the range of the sources."""

methods = pytest.mark.parametrize("name", METHODS)
network_methods = pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if spec.has_network]
)
backbone_methods = pytest.mark.parametrize("name", ON_BACKBONES)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")

BATCH_MATES = 1e-3
"""Gray levels by which batch mates may move a result where sums run in another order; measured:
1e-4."""
HALF_PRECISION = {"vgg_multilayer": 0.4, "resnet_zca": 0.15, "resnet152": 0.4}
"""Gray levels between bf16 and fp32; measured: 0.037, 0.013 and 0.042."""
WINOGRAD = 5e-3
"""Gray levels between Winograd's and direct convolutions; measured: 7e-4."""
WAITING = {"resnet_zca", "gtf", "convsr"}
"""Methods whose iterations are tested for convergence on the host."""
OTHER_DEVICE = 1.0
"""Gray levels between GPU and CPU, of a range that is stretched to 0..255."""


def build(name: str, device: str = "cpu", **values: str) -> FuseBatch:
    parameters = METHODS[name].parameters.parse({**METHODS[name].variants[0], **values})
    weights = Weights.from_seed(4) if METHODS[name].needs_weights else None
    return build_method(name, parameters, weights, device)


built = functools.cache(build)


@functools.cache
def batch() -> Tensor:
    """Return three pairs `(2, 3, 1, H, W)` that have little in common."""
    pairs = [np.stack(source_images(SIZE, seed=seed)) for seed in (0, 1, 2)]
    pairs[1] = pairs[1] / 20
    return torch.from_numpy(np.stack(pairs, axis=1)).float().unsqueeze(2)


@methods
def test_result_is_finite_float32_of_the_sources_size(name: str) -> None:
    for size in (SIZE, (5, 7), (1, 9), (1, 1)):
        sources = torch.from_numpy(np.stack(source_images(size))).float()[:, None, None]
        fused = built(name)(sources)
        assert (fused.shape, fused.dtype) == ((1, 1, *size), torch.float32)
        assert torch.isfinite(fused).all(), size


@methods
def test_images_differ(name: str) -> None:
    fused = built(name)(batch())
    assert fused.shape == (3, 1, *SIZE)
    assert fused.flatten(1).std(dim=1).min() > 0.1


@methods
def test_result_does_not_depend_on_batch_mates(name: str) -> None:
    together = built(name)(batch())
    alone = torch.cat([built(name)(pair) for pair in batch().split(1, dim=1)])
    if name in ALIKE:
        assert torch.equal(together, alone)
    else:
        assert (together - alone).abs().max() < BATCH_MATES


@methods
def test_sources_are_left_alone(name: str) -> None:
    sources = batch().clone()
    built(name)(sources)
    assert torch.equal(sources, batch())


@methods
def test_result_is_the_same_every_time(name: str) -> None:
    first = built(name)(batch())
    assert torch.equal(built(name)(batch()), first)


@methods
def test_memory_layout_of_the_sources_is_no_matter(name: str) -> None:
    scattered = batch().permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert not scattered.is_contiguous()
    assert (built(name)(scattered) - built(name)(batch())).abs().max() < BATCH_MATES


@methods
def test_flat_images_give_a_finite_image(name: str) -> None:
    for levels in ((0, 0), (255, 255), (0, 255), (100, 50)):
        sources = torch.tensor(levels).float().view(2, 1, 1, 1, 1).expand(2, 1, 1, *SIZE)
        fused = built(name)(sources)
        assert fused.shape == (1, 1, *SIZE)
        assert torch.isfinite(fused).all(), levels


@network_methods
def test_half_precision_gives_an_image_of_the_same_shape(name: str) -> None:
    fused = built(name, precision="bf16")(batch())
    assert (fused.shape, fused.dtype) == ((3, 1, *SIZE), torch.float32)
    assert torch.isfinite(fused).all()


@network_methods
def test_direct_convolutions_give_the_image_of_winograd(name: str) -> None:
    direct = built(name, convolution="direct")(batch())
    assert (direct - built(name)(batch())).abs().max() < WINOGRAD


@backbone_methods
def test_half_precision_moves_the_image_little(name: str) -> None:
    fused = built(name, precision="bf16")(batch())
    assert (fused - built(name)(batch())).abs().max() < HALF_PRECISION[name]


@methods
def test_building_with_random_weights_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build(name)
    assert torch.equal(torch.get_rng_state(), before)


@methods
def test_result_is_the_same_outside_of_inference_mode(name: str) -> None:
    inside = built(name)(batch()).clone()
    with torch.inference_mode(False):
        outside = build(name)(batch().clone())
    assert torch.equal(outside, inside)


def stretched(fused: Tensor) -> Tensor:
    """Bring autoencoders' results, of no fixed range, to 0..255; leave others as they are."""
    low, high = fused.amin(dim=(-2, -1), keepdim=True), fused.amax(dim=(-2, -1), keepdim=True)
    return (fused - low) / (high - low) * 255.0


@cuda
@methods
@pytest.mark.parametrize("size", [(61, 47), (5, 7)], ids=str)
def test_result_on_a_gpu_is_that_of_the_cpu(name: str, size: tuple[int, int]) -> None:
    sources = torch.from_numpy(np.stack(source_images(size))).float()[:, None, None]
    expected, found = built(name)(sources), built(name, "cuda")(sources.cuda()).cpu()
    if name not in ALIKE:
        expected, found = stretched(expected), stretched(found)
    assert (found - expected).abs().max() < OTHER_DEVICE


@cuda
@methods
def test_result_on_a_gpu_does_not_depend_on_batch_mates(name: str) -> None:
    sources = batch().cuda()
    together = built(name, "cuda")(sources)
    alone = torch.cat([built(name, "cuda")(pair) for pair in sources.split(1, dim=1)])
    if name not in ALIKE:
        together, alone = stretched(together), stretched(alone)
    assert (together - alone).abs().max() < OTHER_DEVICE


@cuda
@network_methods
def test_half_precision_on_a_gpu_gives_a_finite_image_of_the_same_shape(name: str) -> None:
    fused = build(name, "cuda", precision="bf16")(batch().cuda())
    assert (fused.shape, fused.dtype) == ((3, 1, *SIZE), torch.float32)
    assert torch.isfinite(fused).all()


@cuda
@pytest.mark.parametrize("name", [name for name in METHODS if name not in WAITING])
def test_gpu_is_never_waited_for_in_a_batch(name: str) -> None:
    fuse, sources = built(name, "cuda"), batch().cuda()
    fuse(sources)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fused = fuse(sources)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(fused).all()
