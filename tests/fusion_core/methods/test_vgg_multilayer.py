from __future__ import annotations

import functools
from typing import get_args

import numpy as np
import pytest
import torch
from support import reference_fusion
from support.networks import (
    VGG_LAYERS,
    deviation,
    feature_extractor,
    gray_levels,
    network_state,
    network_weights,
    source_images,
    to_sources,
)
from torch import Tensor

from fusion_core.methods import build_method
from fusion_core.methods.decomposition import tikhonov
from fusion_core.methods.vgg_multilayer import VggMultilayerParameters, vgg_multilayer, vgg_weights
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.layers import InputScale, Layers, VggOutput

outputs = pytest.mark.parametrize("output", get_args(VggOutput))
scales = pytest.mark.parametrize("scale", get_args(InputScale))

WEIGHT_TOLERANCE = 2e-5
"""Over the largest weight; the largest deviation of float32 measured is 1.6e-6."""
GRAY_TOLERANCE = 5e-4
"""Gray levels; the largest deviation of float32 measured is 3e-5."""


def extractor(output: VggOutput, scale: InputScale) -> FeatureExtractor:
    return feature_extractor(Layers("vgg19", VGG_LAYERS, output), input_scale=scale, detail=True)


@functools.cache
def expected_fusion(
    size: tuple[int, int], output: VggOutput, scale: InputScale, count: int = 2
) -> reference_fusion.Fusion:
    state = network_state("vgg19", "relu4_1")
    images = source_images(size, count)
    return reference_fusion.vgg_multilayer(images, state, output=output, input_scale=scale)


def weight_maps(sources: Tensor, output: VggOutput, scale: InputScale) -> Tensor:
    """Return `(layers, K, H, W)`."""
    detail = sources - tikhonov(sources)
    return torch.stack(vgg_weights(detail, extractor(output, scale)))[:, :, 0, 0]


@outputs
@scales
def test_weight_maps_and_images_equal_the_reference(scale: InputScale, output: VggOutput) -> None:
    for size in ((61, 47), (33, 20), (5, 7), (1, 1)):
        sources, expected = to_sources(source_images(size)), expected_fusion(size, output, scale)
        weights = weight_maps(sources, output, scale)
        fused = vgg_multilayer(sources, extractor(output, scale))[0, 0]
        assert deviation(weights, expected.weights) < WEIGHT_TOLERANCE, size
        assert gray_levels(fused, expected.image) < GRAY_TOLERANCE, size


def test_three_sources_equal_the_reference() -> None:
    sources = to_sources(source_images((33, 20), 3))
    expected = expected_fusion((33, 20), "convolution", "published", 3)
    weights = weight_maps(sources, "convolution", "published")
    fused = vgg_multilayer(sources, extractor("convolution", "published"))
    assert deviation(weights, expected.weights) < WEIGHT_TOLERANCE
    assert gray_levels(fused[0, 0], expected.image) < GRAY_TOLERANCE


def test_weight_maps_sum_to_one_over_the_sources() -> None:
    weights = weight_maps(to_sources(source_images((33, 20), 3)), "convolution", "published")
    assert (weights.sum(dim=1) - 1.0).abs().max() < 1e-6


def test_built_method_uses_its_parameters() -> None:
    values = {"smoothness": 0.7, "radius": 3, "features": "relu", "input_scale": "imagenet"}
    parameters = VggMultilayerParameters.parse(values)
    fuse = build_method("vgg_multilayer", parameters, network_weights("vgg19", "relu4_1"))
    images = source_images((33, 20))
    expected = reference_fusion.vgg_multilayer(
        images,
        network_state("vgg19", "relu4_1"),
        output="relu",
        input_scale="imagenet",
        smoothness=0.7,
        radius=3,
    )
    assert gray_levels(fuse(to_sources(images))[0, 0], expected.image) < GRAY_TOLERANCE


def test_variants_differ_by_more_than_the_tolerance() -> None:
    images = [
        expected_fusion((33, 20), output, scale).image
        for output in get_args(VggOutput)
        for scale in get_args(InputScale)
    ]
    differences = [
        np.abs(first - second).max()
        for index, first in enumerate(images)
        for second in images[:index]
    ]
    assert min(differences) > 10 * GRAY_TOLERANCE


def test_without_detail_the_image_is_the_average_of_the_bases() -> None:
    sources = torch.tensor([40.0, 90.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 9, 7)
    fused = vgg_multilayer(sources, extractor("convolution", "published"))
    assert (fused - 65.0).abs().max() < GRAY_TOLERANCE
