from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import torch
from support import reference_fusion
from support.networks import (
    deviation,
    feature_extractor,
    gray_levels,
    network_state,
    network_weights,
    source_images,
    to_sources,
)

from fusion_core.errors import InvalidValueError
from fusion_core.methods import build_method
from fusion_core.methods.decomposition import mean_filter
from fusion_core.methods.resnet152 import Resnet152Parameters, resnet152, resnet152_weights
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.layers import InputScale, Layers

LAYERS = Layers("resnet152", ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"))
CASES: tuple[tuple[InputScale, tuple[int, int]], ...] = (
    ("published", (61, 47)),
    ("imagenet", (61, 47)),
    ("published", (33, 20)),
    ("published", (5, 7)),
    ("published", (1, 1)),
)
cases = pytest.mark.parametrize(("scale", "size"), CASES, ids=str)

WEIGHT_TOLERANCE = 1e-5
"""Over the largest weight; the largest deviation of float32 measured is 6e-7."""
GRAY_TOLERANCE = 5e-4
"""Gray levels; the largest deviation of float32 measured is 3e-5."""


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def extractor(scale: InputScale) -> FeatureExtractor:
    return feature_extractor(LAYERS, input_scale=scale, detail=True)


@functools.cache
def expected_fusion(
    scale: InputScale, size: tuple[int, int], filter_size: int = 31, infrared_weight: float = 0.6
) -> reference_fusion.Fusion:
    return reference_fusion.resnet152(
        source_images(size),
        network_state("resnet152", "conv5_1"),
        filter_size=filter_size,
        infrared_weight=infrared_weight,
        input_scale=scale,
    )


@cases
def test_weight_maps_equal_the_reference(scale: InputScale, size: tuple[int, int]) -> None:
    sources = to_sources(source_images(size))
    detail = sources - mean_filter(sources[:, :, 0]).unsqueeze(2)
    found = resnet152_weights(detail, extractor(scale))[:, 0, 0]
    assert deviation(found, expected_fusion(scale, size).weights) < WEIGHT_TOLERANCE


@cases
def test_fused_image_equals_the_reference(scale: InputScale, size: tuple[int, int]) -> None:
    found = resnet152(to_sources(source_images(size)), extractor(scale))
    assert gray_levels(found[0, 0], expected_fusion(scale, size).image) < GRAY_TOLERANCE


def test_built_method_uses_its_parameters() -> None:
    values = {"filter_size": 7, "infrared_weight": 0.25, "input_scale": "imagenet"}
    parameters = Resnet152Parameters.parse(values)
    fuse = build_method("resnet152", parameters, network_weights("resnet152", "conv5_1"))
    found = fuse(to_sources(source_images((33, 20))))
    expected = expected_fusion("imagenet", (33, 20), 7, 0.25)
    assert gray_levels(found[0, 0], expected.image) < GRAY_TOLERANCE


def test_infrared_source_comes_first() -> None:
    images = source_images((12, 10))
    sources = to_sources(images)
    weighed = resnet152(sources, extractor("published"), infrared_weight=1.0)
    swapped = resnet152(sources.flip(0), extractor("published"), infrared_weight=0.0)
    assert (weighed - swapped).abs().max() < GRAY_TOLERANCE


@pytest.mark.parametrize("count", [1, 3])
def test_other_than_two_sources_are_refused(count: int) -> None:
    sources = to_sources(source_images((5, 7), count))
    with pytest.raises(InvalidValueError, match=f"defined for 2 sources, but got {count}"):
        resnet152(sources, extractor("published"))


def test_even_filter_is_refused() -> None:
    with pytest.raises(
        InvalidValueError, match="filter_size: Input should be an odd number, but got 8"
    ):
        Resnet152Parameters.parse({"filter_size": 8})


def test_without_detail_the_image_is_the_weighted_average_of_the_bases() -> None:
    sources = torch.tensor([40.0, 90.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 9, 7)
    fused = resnet152(sources, extractor("published"))
    assert (fused - (0.6 * 40.0 + 0.4 * 90.0)).abs().max() < GRAY_TOLERANCE
