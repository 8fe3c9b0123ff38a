from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Literal, get_args

import pytest
import torch
from support import reference_backbones, reference_fusion
from support.networks import (
    RESNET_LAYERS,
    VGG_LAYERS,
    deviation,
    feature_extractor,
    gray_levels,
    network_state,
    network_weights,
    source_images,
    to_sources,
)
from support.reference_backbones import RESNET_BLOCKS, Maps, State

from fusion_core.choices import Norm
from fusion_core.errors import InvalidValueError
from fusion_core.methods import build_method
from fusion_core.methods.resnet_zca import ResnetZcaParameters, resnet_zca, zca_weights
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.layers import InputScale, Layers, VggOutput

Backbone = Literal["vgg19", "resnet50", "resnet101"]

DEEPEST: dict[Backbone, str] = {"vgg19": "relu4_1", "resnet50": "conv5", "resnet101": "conv5"}
LAYERS: dict[Backbone, tuple[str, ...]] = {
    "vgg19": VGG_LAYERS,
    "resnet50": RESNET_LAYERS,
    "resnet101": RESNET_LAYERS,
}
SIZES = ((61, 47), (5, 7), (1, 1))
SMALL = (33, 20)

norms = pytest.mark.parametrize("norm", get_args(Norm))

WEIGHT_TOLERANCE = 1e-5
"""Over the largest weight; the largest deviation of float32 measured is 6e-7."""
GRAY_TOLERANCE = 1e-3
"""Gray levels; the largest deviation of float32 measured is 6e-5."""


@pytest.fixture(autouse=True)
def remembered_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reference compute an image's features once for all layers, norms and whitenings."""
    monkeypatch.setattr(reference_fusion, "resnet_features", resnet_features)


_known: dict[tuple[int, tuple[int, ...], bytes], list[Maps]] = {}


def resnet_features(
    image: Maps, state: State, blocks: Sequence[int], layers: Sequence[str]
) -> list[Maps]:
    key = sum(blocks), image.shape, image.tobytes()
    if key not in _known:
        _known[key] = reference_backbones.resnet_features(image, state, blocks, RESNET_LAYERS)
    return [_known[key][RESNET_LAYERS.index(layer)] for layer in layers]


def extractor(
    backbone: Backbone,
    layer: str,
    scale: InputScale = "published",
    output: VggOutput = "convolution",
) -> FeatureExtractor:
    return feature_extractor(Layers(backbone, (layer,), output), input_scale=scale)


@functools.cache
def expected_fusion(
    size: tuple[int, int],
    backbone: Backbone,
    layer: str,
    norm: Norm,
    zca: bool = True,
    scale: InputScale = "published",
    output: VggOutput = "convolution",
    count: int = 2,
) -> reference_fusion.Fusion:
    return reference_fusion.resnet_zca(
        source_images(size, count),
        network_state(backbone, DEEPEST[backbone]),
        backbone=backbone,
        layer=layer,
        norm=norm,
        zca=zca,
        input_scale=scale,
        output=output,
    )


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_weight_maps_and_images_equal_the_reference(backbone: Backbone) -> None:
    sources = to_sources(source_images(SMALL))
    # norm and whitening do not depend on the backbone: the larger ResNet is asked for one of each
    deep = backbone == "resnet101"
    norms: tuple[Norm, ...] = ("l1",) if deep else get_args(Norm)
    whitened = (True,) if deep else (True, False)
    for layer, norm, zca in itertools.product(LAYERS[backbone], norms, whitened):
        chosen = extractor(backbone, layer)
        expected = expected_fusion(SMALL, backbone, layer, norm, zca)
        weights = zca_weights(sources, chosen, norm=norm, zca=zca)[:, 0, 0]
        assert deviation(weights, expected.weights) < WEIGHT_TOLERANCE, (layer, norm, zca)
        if norm == "l1" and zca:
            fused = resnet_zca(sources, chosen)[0, 0]
            assert gray_levels(fused, expected.image) < GRAY_TOLERANCE, layer


@pytest.mark.parametrize(("backbone", "layer"), [("vgg19", "relu4_1"), ("resnet50", "conv4")])
def test_weight_maps_of_any_size_equal_the_reference(backbone: Backbone, layer: str) -> None:
    for norm, size in itertools.product(get_args(Norm), SIZES):
        found = zca_weights(to_sources(source_images(size)), extractor(backbone, layer), norm=norm)
        expected = expected_fusion(size, backbone, layer, norm).weights
        assert deviation(found[:, 0, 0], expected) < WEIGHT_TOLERANCE, (norm, size)


def test_fusing_equal_sources_gives_that_image() -> None:
    image = to_sources(source_images(SMALL))[:1]
    chosen = extractor("resnet50", "conv4")
    for norm, zca in itertools.product(get_args(Norm), (True, False)):
        fused = resnet_zca(torch.cat((image, image)), chosen, norm=norm, zca=zca)
        assert (fused - image[0]).abs().max() <= 1e-2, (norm, zca)


@pytest.mark.parametrize(("backbone", "layer"), [("vgg19", "relu2_1"), ("resnet50", "conv3")])
def test_imagenet_scale_equals_the_reference(backbone: Backbone, layer: str) -> None:
    sources = to_sources(source_images(SMALL))
    found = zca_weights(sources, extractor(backbone, layer, "imagenet"))[:, 0, 0]
    expected = expected_fusion(SMALL, backbone, layer, "l1", scale="imagenet").weights
    assert deviation(found, expected) < WEIGHT_TOLERANCE


@pytest.mark.parametrize("layer", VGG_LAYERS)
def test_activated_vgg_features_equal_the_reference(layer: str) -> None:
    chosen = extractor("vgg19", layer, output="relu")
    found = zca_weights(to_sources(source_images(SMALL)), chosen)[:, 0, 0]
    expected = expected_fusion(SMALL, "vgg19", layer, "l1", output="relu").weights
    assert deviation(found, expected) < WEIGHT_TOLERANCE


@norms
def test_three_sources_equal_the_reference(norm: Norm) -> None:
    sources = to_sources(source_images(SMALL, 3))
    chosen = extractor("resnet50", "conv4")
    expected = expected_fusion(SMALL, "resnet50", "conv4", norm, count=3)
    weights = zca_weights(sources, chosen, norm=norm)[:, 0, 0]
    assert deviation(weights, expected.weights) < WEIGHT_TOLERANCE
    fused = resnet_zca(sources, chosen, norm=norm)[0, 0]
    assert gray_levels(fused, expected.image) < GRAY_TOLERANCE


@pytest.mark.parametrize("radius", [0, 5])
def test_radius_and_epsilon_equal_the_reference(radius: int) -> None:
    images = source_images(SMALL)
    found = zca_weights(
        to_sources(images), extractor("resnet50", "conv2"), radius=radius, epsilon=1e-3
    )
    expected = reference_fusion.resnet_zca(
        images,
        network_state("resnet50", "conv5"),
        backbone="resnet50",
        layer="conv2",
        norm="l1",
        radius=radius,
        epsilon=1e-3,
    )
    assert deviation(found[:, 0, 0], expected.weights) < WEIGHT_TOLERANCE


@norms
def test_whitening_some_channels_at_a_time_changes_nothing(norm: Norm) -> None:
    sources = to_sources(source_images(SMALL))
    chosen = extractor("resnet50", "conv2")
    whole = zca_weights(sources, chosen, norm=norm)
    parts = zca_weights(sources, chosen, norm=norm, part_elements=17 * 2 * 9 * 5)
    assert deviation(parts, whole.double().numpy()) < WEIGHT_TOLERANCE


def test_activity_that_resizing_makes_negative_counts_as_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = torch.zeros(2, 1, 3, 4)
    features[0, 0, 1, 1] = 9.0
    features[1] = 1.0
    chosen = extractor("resnet50", "conv4")
    monkeypatch.setattr(chosen, "reduce", lambda images, reduction, radius: [reduction(features)])
    weights = zca_weights(to_sources(source_images(SMALL)), chosen, zca=False, radius=0)[0, 0, 0]
    negative = (
        torch.from_numpy(reference_fusion.bicubic(features[0, 0].double().numpy(), SMALL)) < 0
    )
    assert negative.any()
    assert not weights[negative].any()
    assert weights[~negative].any()


def test_weight_maps_sum_to_one_over_the_sources() -> None:
    weights = zca_weights(to_sources(source_images(SMALL, 3)), extractor("resnet50", "conv4"))
    assert (weights.sum(dim=0) - 1.0).abs().max() < 1e-6


def test_built_method_uses_its_parameters() -> None:
    values = {
        "backbone": "vgg19",
        "layer": "relu3_1",
        "norm": "nuclear",
        "zca": False,
        "radius": 1,
        "features": "relu",
        "input_scale": "imagenet",
    }
    weights = network_weights("vgg19", "relu3_1")
    fuse = build_method("resnet_zca", ResnetZcaParameters.parse(values), weights)
    images = source_images(SMALL)
    expected = reference_fusion.resnet_zca(
        images,
        network_state("vgg19", "relu4_1"),
        backbone="vgg19",
        layer="relu3_1",
        norm="nuclear",
        zca=False,
        radius=1,
        input_scale="imagenet",
        output="relu",
    )
    assert gray_levels(fuse(to_sources(images))[0, 0], expected.image) < GRAY_TOLERANCE


def test_vgg19_reads_its_deepest_layer_by_default() -> None:
    assert ResnetZcaParameters.parse({"backbone": "vgg19"}).layer == "relu4_1"


@pytest.mark.parametrize(
    ("backbone", "layer"), [("vgg19", "conv4"), ("resnet50", "relu4_1"), ("resnet101", "relu1_1")]
)
def test_layer_of_another_network_is_refused(backbone: str, layer: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{backbone} has the layers "):
        ResnetZcaParameters.parse({"backbone": backbone, "layer": layer})


def test_blocks_of_the_reference_distinguish_the_networks() -> None:
    assert len({sum(RESNET_BLOCKS[name]) for name in ("resnet50", "resnet101")}) == 2
