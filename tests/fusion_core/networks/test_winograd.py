"""Winograd's convolutions, compared with direct ones in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_core.methods.densefuse import DenseFuseNetwork
from fusion_core.methods.msdnet import MsdNetNetwork
from fusion_core.networks.convolution import convolve_and_rectify, speed_up_convolutions
from fusion_core.networks.winograd import WinogradConv2d, can_transform

LARGEST_DEVIATION = 4e-6
"""Relative to the largest value."""


def layer(channels: int = 16, out: int = 16, **options: Any) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(channels, out, options.pop("kernel_size", 3), **options).requires_grad_(False)


def maps(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last)


def exact(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    bias = None if convolution.bias is None else convolution.bias.double()
    weight, padding = convolution.weight.double(), convolution.padding
    return functional.conv2d(features.double(), weight, bias, padding=padding)


def deviation(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


SIZES = [(3, 3), (3, 9), (4, 4), (5, 6), (6, 7), (7, 10), (29, 18), (41, 67)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_result_is_that_of_a_direct_convolution(
    size: tuple[int, int], padding: int, bias: bool
) -> None:
    convolution = layer(32, 48, padding=padding, bias=bias)
    features = maps(2, 32, *size)
    found = WinogradConv2d(convolution)(features)
    assert deviation(found, exact(convolution, features)) < LARGEST_DEVIATION
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2)], ids=str)
def test_images_smaller_than_the_filter_are_convolved_with_padding(size: tuple[int, int]) -> None:
    convolution = layer(padding=1)
    features = maps(1, 16, *size)
    found = WinogradConv2d(convolution)(features)
    assert deviation(found, exact(convolution, features)) < LARGEST_DEVIATION


@pytest.mark.parametrize("channels", [16, 256, 512])
def test_many_channels_deviate_little(channels: int) -> None:
    convolution = layer(channels, 64, padding=1)
    features = maps(1, channels, 30, 31).relu()
    found = WinogradConv2d(convolution)(features)
    assert deviation(found, exact(convolution, features)) < LARGEST_DEVIATION


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels first": lambda features: features.contiguous(),
    "part of the channels": lambda features: torch.cat((features,) * 3, 1)[:, 32:64],
    "inner part": lambda features: functional.pad(features, (1, 2, 3, 1))[..., 3:-1, 1:-2],
    "repeated rows": lambda features: features[..., :1, :].expand(features.shape),
    "turned": lambda features: features.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_of_the_input_does_not_matter(name: str) -> None:
    features = LAYOUTS[name](maps(2, 32, 11, 13))
    fast = WinogradConv2d(layer(32, padding=1))
    assert torch.equal(fast(features), fast(features.clone(memory_format=torch.channels_last)))


def test_result_for_an_image_does_not_depend_on_the_batch() -> None:
    fast = WinogradConv2d(layer(padding=1))
    features = maps(3, 16, 37, 43)
    assert torch.equal(fast(features), torch.cat([fast(image) for image in features.split(1)]))


def test_input_and_the_memory_around_the_result_are_left_alone() -> None:
    fast = WinogradConv2d(layer())
    features = maps(2, 16, 12, 15)
    before = features.clone()
    larger = torch.full((2, 48, 14, 17), 7.0).to(memory_format=torch.channels_last)
    target = larger[:, 16:32, 1:11, 2:15]
    fast.rectify_into(features, target)
    assert torch.equal(features, before)
    assert torch.equal(target, fast(features).relu())
    target.fill_(7.0)
    assert (larger == 7.0).all()


def test_nan_stays_nan_around_its_place() -> None:
    features = maps(1, 16, 20, 20)
    features[0, 3, 10, 10] = torch.nan
    target = torch.empty(1, 16, 18, 18).to(memory_format=torch.channels_last)
    WinogradConv2d(layer()).rectify_into(features, target)
    assert torch.isnan(target[..., 8:11, 8:11]).all()
    assert not torch.isnan(target[..., :4, :]).any()


def test_another_type_or_one_that_requires_gradients_is_convolved_directly() -> None:
    convolution = layer(padding=1)
    fast = WinogradConv2d(convolution)
    features = maps(1, 16, 9, 9)
    learned = features.clone().requires_grad_()
    assert torch.equal(fast(learned), convolution(features))
    fast(learned).sum().backward()
    assert learned.grad is not None
    half = WinogradConv2d(layer(padding=1)).to(torch.bfloat16)
    assert half(features.bfloat16()).dtype == torch.bfloat16


OTHERS: dict[str, nn.Module] = {
    "5x5": layer(kernel_size=5),
    "1x1": layer(kernel_size=1),
    "stride": layer(stride=2),
    "dilation": layer(dilation=2),
    "groups": layer(groups=2),
    "wide padding": layer(padding=2),
    "reflected padding": layer(padding=1, padding_mode="reflect"),
    "three channels": layer(3),
    "one result": layer(16, 1),
    "bfloat16": layer().bfloat16(),
    "float64": layer().double(),
    "ReLU": nn.ReLU(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_are_not_replaced(name: str) -> None:
    assert not can_transform(OTHERS[name])
    replaced = speed_up_convolutions(OTHERS[name])
    assert not isinstance(replaced, WinogradConv2d)


def test_layers_are_replaced_unless_direct_ones_are_wanted() -> None:
    for convolution, kind in (("winograd", WinogradConv2d), ("direct", nn.Conv2d)):
        block = nn.Sequential(nn.Sequential(layer()), nn.ReLU())
        speed_up_convolutions(block, convolution)  # type: ignore[arg-type]
        assert type(block[0][0]) is kind  # type: ignore[index]
    assert isinstance(speed_up_convolutions(layer()), WinogradConv2d)


@pytest.mark.parametrize("size", [(3, 3), (3, 7), (4, 3), (20, 23)], ids=str)
def test_rectified_maps_have_a_reflected_border(size: tuple[int, int]) -> None:
    features = maps(2, 16, *size)
    fast, slow = (
        convolve_and_rectify(kind, features) for kind in (WinogradConv2d(layer()), layer())
    )
    assert deviation(fast, slow.double()) < LARGEST_DEVIATION
    assert fast.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("network_type", [DenseFuseNetwork, MsdNetNetwork])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (19, 26)], ids=str)
def test_a_dense_block_is_that_of_direct_convolutions(
    network_type: type[DenseFuseNetwork] | type[MsdNetNetwork], size: tuple[int, int]
) -> None:
    torch.manual_seed(2)
    network = network_type().requires_grad_(False).to(memory_format=torch.channels_last)
    images = torch.from_numpy(np.random.default_rng(3).uniform(0, 255, (2, 1, *size))).float()
    expected = network.encode(images)
    speed_up_convolutions(network)
    assert deviation(network.encode(images), expected.double()) < LARGEST_DEVIATION
