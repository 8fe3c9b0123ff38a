from __future__ import annotations

import functools

import pytest
import torch
from support import reference_fusion
from support.networks import (
    RES2NET_SPLITS,
    deviation,
    res2net_state,
    res2net_weights,
    source_images,
    to_sources,
)
from torch import Tensor

from fusion_core.choices import ResidualConvolutions
from fusion_core.methods import build_method, strategies
from fusion_core.methods.res2netfuse import (
    MeanWeights,
    Res2NetFuseNetwork,
    Res2NetFuseParameters,
    Strategy,
    res2netfuse,
)
from fusion_core.networks.state_dicts import load_weights

ATTENTIONS: tuple[tuple[Strategy, MeanWeights], ...] = (
    ("mean", "softmax"),
    ("mean", "ratio"),
    ("l1_norm", "softmax"),
)
blocks = pytest.mark.parametrize("convolutions", RES2NET_SPLITS)
attentions = pytest.mark.parametrize(("strategy", "mean_weights"), ATTENTIONS)

TOLERANCE = 3e-5
"""Over the largest value; the largest deviation of float32 measured is 2.6e-6."""
WEIGHT_TOLERANCE = 5e-6
"""Over the largest weight; the largest deviation of float32 measured is 2.6e-7."""
REORDERED = 1e-5
"""Other tile sizes let sums run in another order; the largest effect is 1e-6."""


@functools.cache
def network(convolutions: ResidualConvolutions) -> Res2NetFuseNetwork:
    made = Res2NetFuseNetwork(convolutions)
    load_weights(made, res2net_weights(convolutions))
    return made


@functools.cache
def expected_fusion(
    size: tuple[int, int],
    strategy: Strategy,
    mean_weights: MeanWeights,
    convolutions: ResidualConvolutions,
    count: int = 2,
) -> reference_fusion.Fusion:
    return reference_fusion.res2netfuse(
        source_images(size, count),
        res2net_state(convolutions),
        strategy=strategy,
        mean_weights=mean_weights,
        residual_convolutions=convolutions,
    )


def attention(features: Tensor, strategy: Strategy, mean_weights: MeanWeights) -> Tensor:
    """Return the weight maps `(K, H, W)` that the features `(K, C, H, W)` lead to.

    Each source in turn gets channels of its own: its weight comes out where the others have 0.
    """
    count, channels = features.shape[:2]
    own = torch.zeros(count, 1, count * channels, *features.shape[2:])
    for index, each in enumerate(features):
        own[index, 0, index * channels : (index + 1) * channels] = each
    if strategy == "l1_norm":
        merged = strategies.l1_norm(own, radius=0)
    else:
        means = strategies.channel_mean(own)
        limits = means.amin(dim=(-2, -1), keepdim=True), means.amax(dim=(-2, -1), keepdim=True)
        merged = strategies.attend_to_mean(own, limits if mean_weights == "softmax" else None)
    weights: Tensor = merged.unflatten(1, (count, channels))[0].sum(dim=1) / features.sum(dim=1)
    return weights


@blocks
@attentions
def test_fused_image_equals_the_reference(
    strategy: Strategy, mean_weights: MeanWeights, convolutions: ResidualConvolutions
) -> None:
    for size in ((61, 47), (33, 20), (5, 7), (1, 1)):
        found = res2netfuse(
            to_sources(source_images(size)),
            network(convolutions),
            strategy=strategy,
            mean_weights=mean_weights,
        )
        expected = expected_fusion(size, strategy, mean_weights, convolutions).image
        assert deviation(found[0, 0], expected) < TOLERANCE, size


@attentions
@pytest.mark.parametrize("count", [2, 3])
def test_weight_maps_equal_the_reference(
    count: int, strategy: Strategy, mean_weights: MeanWeights
) -> None:
    features = network("shared").encode(to_sources(source_images((33, 20), count))[:, 0])
    expected = expected_fusion((33, 20), strategy, mean_weights, "shared", count).weights
    assert deviation(attention(features, strategy, mean_weights), expected) < WEIGHT_TOLERANCE


@attentions
def test_three_sources_equal_the_reference(strategy: Strategy, mean_weights: MeanWeights) -> None:
    sources = to_sources(source_images((33, 20), 3))
    found = res2netfuse(sources, network("shared"), strategy=strategy, mean_weights=mean_weights)
    expected = expected_fusion((33, 20), strategy, mean_weights, "shared", 3).image
    assert deviation(found[0, 0], expected) < TOLERANCE


@blocks
def test_built_method_uses_its_parameters(convolutions: ResidualConvolutions) -> None:
    values = {"strategy": "mean", "mean_weights": "ratio", "convolutions": convolutions}
    parameters = Res2NetFuseParameters.parse(values)
    fuse = build_method("res2netfuse", parameters, res2net_weights(convolutions))
    found = fuse(to_sources(source_images((33, 20))))
    expected = expected_fusion((33, 20), "mean", "ratio", convolutions).image
    assert deviation(found[0, 0], expected) < TOLERANCE


@attentions
def test_image_larger_than_a_tile_is_fused_as_if_whole(
    strategy: Strategy, mean_weights: MeanWeights
) -> None:
    for size in ((50, 37), (17, 16), (1, 61)):
        fuse = functools.partial(
            res2netfuse,
            to_sources(source_images(size)),
            network("separate"),
            strategy=strategy,
            mean_weights=mean_weights,
        )
        whole = fuse().double().numpy()
        assert deviation(fuse(tile=16), whole) < REORDERED, size
        assert deviation(fuse(tile=16, kept_elements=0), whole) < REORDERED, size


def test_published_variants_are_the_default() -> None:
    chosen = Res2NetFuseParameters()
    assert (chosen.strategy, chosen.mean_weights, chosen.convolutions) == (
        "mean",
        "softmax",
        "shared",
    )
