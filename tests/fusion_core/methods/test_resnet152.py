from __future__ import annotations

import functools

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
from fusion_core.methods.decomposition import mean_filter, tikhonov
from fusion_core.methods.resnet152 import (
    Resnet152Parameters,
    resnet152,
    resnet152_layers,
    resnet152_text,
    resnet152_text_weights,
    resnet152_weights,
)
from fusion_core.methods.specs.resnet152 import Resnet152Variant
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.layers import InputScale

DEEPEST = {"published": "conv5", "text": "conv5_1"}
CASES: tuple[tuple[InputScale, tuple[int, int]], ...] = (
    ("published", (61, 47)),
    ("imagenet", (61, 47)),
    ("published", (33, 20)),
    ("published", (5, 7)),
    ("published", (1, 1)),
)
PUBLISHED_CASES: tuple[tuple[InputScale, tuple[int, int]], ...] = (
    ("imagenet", (61, 47)),
    ("published", (64, 32)),
    ("published", (5, 7)),
)
"""In 64x32 pixels, the last layer reaches neither the last two rows nor the last column."""
cases = pytest.mark.parametrize(("scale", "size"), CASES, ids=str)
variants = pytest.mark.parametrize("variant", ["published", "text"])

WEIGHT_TOLERANCE = 1e-5
"""Over the largest weight; the largest deviation of float32 measured is 6e-7."""
SQUARED_WEIGHT_TOLERANCE = 5e-5
"""Likewise of the published variant, whose first layer is the detail; measured: 7e-6."""
GRAY_TOLERANCE = 5e-4
"""Gray levels; the largest deviation of float32 measured is 8e-5."""


def extractor(variant: Resnet152Variant, scale: InputScale = "published") -> FeatureExtractor:
    layers = resnet152_layers(Resnet152Parameters(variant=variant))
    return feature_extractor(layers, input_scale=scale, detail=True)


@functools.cache
def published_fusion(
    scale: InputScale, size: tuple[int, int], infrared_weight: float = 0.5
) -> reference_fusion.Fusion:
    state = network_state("resnet152", "conv5")
    return reference_fusion.resnet152(
        source_images(size), state, infrared_weight=infrared_weight, input_scale=scale
    )


@functools.cache
def text_fusion(
    scale: InputScale, size: tuple[int, int], filter_size: int = 31, infrared_weight: float = 0.6
) -> reference_fusion.Fusion:
    return reference_fusion.resnet152_text(
        source_images(size),
        network_state("resnet152", "conv5_1"),
        filter_size=filter_size,
        infrared_weight=infrared_weight,
        input_scale=scale,
    )


@pytest.mark.parametrize(("scale", "size"), PUBLISHED_CASES, ids=str)
def test_published_weight_maps_equal_the_reference(
    scale: InputScale, size: tuple[int, int]
) -> None:
    sources = to_sources(source_images(size))
    detail = sources - tikhonov(sources)
    found = resnet152_weights(detail, extractor("published", scale))[:, 0, 0]
    assert deviation(found, published_fusion(scale, size).weights) < SQUARED_WEIGHT_TOLERANCE


@pytest.mark.parametrize(("scale", "size"), [*PUBLISHED_CASES, ("published", (1, 1))], ids=str)
def test_published_image_equals_the_reference(scale: InputScale, size: tuple[int, int]) -> None:
    found = resnet152(to_sources(source_images(size)), extractor("published", scale))
    assert gray_levels(found[0, 0], published_fusion(scale, size).image) < GRAY_TOLERANCE


@cases
def test_weight_maps_of_the_text_equal_the_reference(
    scale: InputScale, size: tuple[int, int]
) -> None:
    sources = to_sources(source_images(size))
    detail = sources - mean_filter(sources[:, :, 0]).unsqueeze(2)
    found = resnet152_text_weights(detail, extractor("text", scale))[:, 0, 0]
    assert deviation(found, text_fusion(scale, size).weights) < WEIGHT_TOLERANCE


@cases
def test_image_of_the_text_equals_the_reference(scale: InputScale, size: tuple[int, int]) -> None:
    found = resnet152_text(to_sources(source_images(size)), extractor("text", scale))
    assert gray_levels(found[0, 0], text_fusion(scale, size).image) < GRAY_TOLERANCE


def fused_with(variant: Resnet152Variant, **values: float | str) -> torch.Tensor:
    """Fuse images of 33x20 by the method as it is built from its parameters."""
    parameters = Resnet152Parameters.parse({"variant": variant, **values})
    weights = network_weights("resnet152", DEEPEST[variant])
    fuse = build_method("resnet152", parameters, weights)
    return fuse(to_sources(source_images((33, 20))))[0, 0]


def test_published_method_uses_its_parameters() -> None:
    found = fused_with("published", infrared_weight=0.25, input_scale="imagenet")
    expected = published_fusion("imagenet", (33, 20), 0.25)
    assert gray_levels(found, expected.image) < GRAY_TOLERANCE


def test_method_of_the_text_uses_its_parameters() -> None:
    found = fused_with("text", filter_size=7, infrared_weight=0.25, input_scale="imagenet")
    expected = text_fusion("imagenet", (33, 20), 7, 0.25)
    assert gray_levels(found, expected.image) < GRAY_TOLERANCE


def test_weight_of_the_infrared_base_is_by_default_that_of_the_variant() -> None:
    variants = {}, {"variant": "published"}, {"variant": "text"}
    weights = [Resnet152Parameters.parse(values).infrared_weight for values in variants]
    assert weights == [0.5, 0.5, 0.6]
    given = Resnet152Parameters.parse({"variant": "text", "infrared_weight": 0.5})
    assert given.infrared_weight == 0.5


@variants
def test_parameters_survive_being_written_and_read(variant: Resnet152Variant) -> None:
    parameters = Resnet152Parameters.parse({"variant": variant})
    assert Resnet152Parameters.parse(parameters.model_dump()) == parameters


def test_filter_size_is_refused_where_there_is_no_filter() -> None:
    message = "filter_size: the variant published has no mean filter; .* add variant=text"
    with pytest.raises(InvalidValueError, match=message):
        Resnet152Parameters.parse({"filter_size": 7})


def test_infrared_source_comes_first() -> None:
    images = source_images((12, 10))
    sources = to_sources(images)
    for fuse, network in (
        (resnet152, extractor("published")),
        (resnet152_text, extractor("text")),
    ):
        weighed = fuse(sources, network, infrared_weight=1.0)
        swapped = fuse(sources.flip(0), network, infrared_weight=0.0)
        assert (weighed - swapped).abs().max() < GRAY_TOLERANCE


@pytest.mark.parametrize("count", [1, 3])
def test_other_than_two_sources_are_refused(count: int) -> None:
    sources = to_sources(source_images((5, 7), count))
    with pytest.raises(InvalidValueError, match=f"defined for 2 sources, but got {count}"):
        resnet152(sources, extractor("published"))
    with pytest.raises(InvalidValueError, match=f"defined for 2 sources, but got {count}"):
        resnet152_text(sources, extractor("text"))


def test_even_filter_is_refused() -> None:
    with pytest.raises(
        InvalidValueError, match="filter_size: Input should be an odd number, but got 8"
    ):
        Resnet152Parameters.parse({"variant": "text", "filter_size": 8})


def test_without_detail_the_image_is_the_weighted_average_of_the_bases() -> None:
    sources = torch.tensor([40.0, 90.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 9, 7)
    published = resnet152(sources, extractor("published"))
    assert (published - (0.5 * 40.0 + 0.5 * 90.0)).abs().max() < GRAY_TOLERANCE
    text = resnet152_text(sources, extractor("text"))
    assert (text - (0.6 * 40.0 + 0.4 * 90.0)).abs().max() < GRAY_TOLERANCE


def test_no_activity_in_any_layer_means_no_weight() -> None:
    class Silent:
        strides = (2, 4, 8, 16, 32)

        def reduce(self, images: torch.Tensor, reduction: object) -> list[torch.Tensor]:
            del reduction
            return [torch.zeros(2, 1, -(-9 // stride), -(-7 // stride)) for stride in self.strides]

    detail = torch.zeros(2, 1, 1, 9, 7)
    detail[0, 0, 0, 8, 6] = 3.0
    weights = resnet152_weights(detail, Silent())  # type: ignore[arg-type]
    assert weights[0, 0, 0, 7:, 5:].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (weights.sum(), weights[1].sum()) == (4.0, 0.0)


def test_images_that_are_cut_into_tiles_fuse_alike() -> None:
    layers = resnet152_layers(Resnet152Parameters())
    weights = network_weights("resnet152", "conv5")
    tiled = FeatureExtractor(
        layers, weights, torch.device("cpu"), detail=True, longest_side=40, smallest_tile=32
    )
    sources = to_sources(source_images((131, 37)))
    found = resnet152(sources, tiled)
    assert (found - resnet152(sources, extractor("published"))).abs().max() < GRAY_TOLERANCE
