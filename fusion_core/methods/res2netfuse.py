"""Res2NetFuse: an autoencoder with a Res2Net block.

Song, Wu, Li, Sun & Palade, "Res2NetFuse: A Fusion Method for Infrared and Visible Images", 2021,
https://arxiv.org/abs/2112.14540.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_core.choices import ResidualConvolutions
from fusion_core.methods import strategies
from fusion_core.methods.specs.res2netfuse import MeanWeights, Res2NetFuseParameters, Strategy
from fusion_core.networks import (
    Weights,
    load_weights,
    speed_up_convolutions,
    tiles,
    without_initial_values,
)

_GROUPS = 4
_KEPT_ELEMENTS = 64 * 1024 * 1024
"""Feature elements of an image that are kept rather than computed again."""


class Res2NetFuseNetwork(nn.Module):
    """The autoencoder of Table I, zero padding: encoder c1, c2, Res2Net block; decoder d1-d4.

    Args:
        convolutions: Whether the Res2Net block has one 3x3 convolution or six.
    """

    receptive_radius: ClassVar[int] = 8 + 4
    """Radius in pixels of the receptive field of the encoder (two convolutions, and three groups of
    two in a row) and of the decoder."""

    def __init__(self, convolutions: ResidualConvolutions = "shared") -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 3, padding=1)
        self.c2 = nn.Conv2d(32, 64, 3, padding=1)
        self.r1 = nn.Conv2d(64, 64, 1)
        self._shared = convolutions == "shared"
        if self._shared:
            self.split = nn.Conv2d(16, 16, 3, padding=1)
        else:
            for group in range(2, _GROUPS + 1):
                for place in (1, 2):
                    self.add_module(f"split{group}_{place}", nn.Conv2d(16, 16, 3, padding=1))
        self.r2 = nn.Conv2d(64, 64, 1)
        self.d1 = nn.Conv2d(64, 64, 3, padding=1)
        self.d2 = nn.Conv2d(64, 32, 3, padding=1)
        self.d3 = nn.Conv2d(32, 16, 3, padding=1)
        self.d4 = nn.Conv2d(16, 1, 3, padding=1)

    def encode(self, images: Tensor) -> Tensor:
        """Map images `(B, 1, H, W)` in 0..255 to feature maps `(B, 64, H, W)`, none negative."""
        rough = self.c2(self.c1(images).relu_()).relu_()
        first, *others = self.r1(rough).relu_().chunk(_GROUPS, dim=1)
        outputs = [first]
        for group, features in enumerate(others, start=2):  # Eq. 1
            joined = features if group == 2 else features + outputs[-1]
            for place in (1, 2):
                joined = self._split(group, place)(joined).relu_()
            outputs.append(joined)
        return rough + self.r2(torch.cat(outputs, dim=1)).relu_()  # type: ignore[no-any-return]

    def _split(self, group: int, place: int) -> nn.Module:
        return self.split if self._shared else self.get_submodule(f"split{group}_{place}")

    def decode(self, features: Tensor) -> Tensor:
        """Map feature maps `(B, 64, H, W)` to images `(B, 1, H, W)`, of no fixed range."""
        for layer in (self.d1, self.d2, self.d3):
            features = layer(features).relu_()
        return self.d4(features)  # type: ignore[no-any-return]


def res2netfuse(
    sources: Tensor,
    network: Res2NetFuseNetwork,
    *,
    strategy: Strategy = "mean",
    mean_weights: MeanWeights = "softmax",
    tile: int = 256,
    kept_elements: int = _KEPT_ELEMENTS,
) -> Tensor:
    """Fuse K sources: encode each, average the feature maps by spatial attention, decode once.

    Args:
        sources: `(K, B, 1, H, W)` in 0..255, of the network's dtype, K >= 2, any H and W.
        network: The trained autoencoder.
        strategy: Spatial attention.
        mean_weights: Weights of the strategy `mean`.
        tile: Longest side in pixels of the tiles into which larger images are split.
        kept_elements: Feature elements up to which the features are kept between the two passes of
            `softmax`; more are computed again.

    Returns:
        `(B, 1, H, W)`, of no fixed range. Large images are computed in tiles.

    >>> import torch
    >>> network = Res2NetFuseNetwork().requires_grad_(False)
    >>> res2netfuse(torch.rand(3, 1, 1, 8, 9), network, strategy="l1_norm").shape
    torch.Size([1, 1, 8, 9])
    """
    count, batch, _, height, width = sources.shape
    parts = list(tiles(height, width, tile=tile, halo=network.receptive_radius))
    keep = count * batch * 64 * height * width <= kept_elements

    def encode(part: Tensor) -> Tensor:
        features = network.encode(part.flatten(0, 1))
        return features.view(count, batch, *features.shape[1:])

    limits: tuple[Tensor, Tensor] | None = None
    kept: list[Tensor] = []
    if strategy == "mean" and mean_weights == "softmax":
        means = torch.empty_like(sources, dtype=torch.float32)
        for part in parts:
            features = encode(part.crop(sources))
            part.put(strategies.channel_mean(features), means)
            if keep:
                kept.append(features)
        limits = means.amin(dim=(-3, -2, -1), keepdim=True), means.amax((-3, -2, -1), keepdim=True)
    result = sources.new_empty((batch, 1, height, width))
    for index, part in enumerate(parts):
        features = kept[index] if kept else encode(part.crop(sources))
        part.put(network.decode(_merge(features, strategy, limits)), result)
    return result


def _merge(features: Tensor, strategy: Strategy, limits: tuple[Tensor, Tensor] | None) -> Tensor:
    if strategy == "l1_norm":
        return strategies.l1_norm(features, radius=0)
    return strategies.attend_to_mean(features, limits)


def build_res2netfuse(
    parameters: Res2NetFuseParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    network = without_initial_values(lambda: Res2NetFuseNetwork(parameters.convolutions))
    load_weights(network, weights)
    dtype = torch.bfloat16 if parameters.precision == "bf16" else torch.float32
    network.to(device, dtype).to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)
    speed_up_convolutions(network, parameters.convolution)

    def fuse_batch(sources: Tensor) -> Tensor:
        return res2netfuse(
            sources.to(dtype),
            network,
            strategy=parameters.strategy,
            mean_weights=parameters.mean_weights,
        ).float()

    return fuse_batch
