"""MSDNet: an autoencoder with a dense block and filters of three sizes.

Song, Wu & Li, "MSDNet for Medical Image Fusion", ICIG, 2019,
https://doi.org/10.1007/978-3-030-34110-7_24.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_core.filters import pad
from fusion_core.methods import strategies
from fusion_core.methods.autoencoders import build_autoencoder
from fusion_core.methods.specs.msdnet import MsdNetParameters, Strategy
from fusion_core.networks import Weights, convolve_and_rectify, convolve_densely, reflect

_MERGE: dict[Strategy, Callable[[Tensor], Tensor]] = {
    "addition": strategies.addition,
    "mean": strategies.mean,
    "l1_norm": partial(strategies.l1_norm, radius=0),
}


class MsdNetNetwork(nn.Module):
    """The autoencoder: a dense block of 3x3 filters, three parallel convolutions, and a decoder.

    All convolutions have reflection padding.
    """

    receptive_radius: ClassVar[int] = 10
    """Radius in pixels of the receptive field of encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3)
        self.dc1 = nn.Conv2d(16, 16, 3)
        self.dc2 = nn.Conv2d(32, 16, 3)
        self.dc3 = nn.Conv2d(48, 16, 3)
        self.m1 = nn.Conv2d(64, 64, 1)
        self.m3 = nn.Conv2d(64, 64, 3)
        self.m5 = nn.Conv2d(64, 64, 5)
        self.c2 = nn.Conv2d(192, 64, 3)
        self.c3 = nn.Conv2d(64, 32, 3)
        self.c4 = nn.Conv2d(32, 16, 3)
        self.c5 = nn.Conv2d(16, 1, 3)

    def encode(self, images: Tensor) -> Tensor:
        """Map images `(B, 1, H, W)` in 0..255 to features `(B, 192, H, W)`, none negative."""
        layers = self.c1, self.dc1, self.dc2, self.dc3
        features = convolve_densely(layers, reflect(images), newest_first=True)
        inner = features[..., 1:-1, 1:-1]
        scales = (self.m1(inner), self.m3(features), self.m5(pad(inner, (2, 2, 2, 2), "mirror")))
        return torch.cat([scale.relu() for scale in scales], dim=1)

    def decode(self, features: Tensor) -> Tensor:
        """Map features `(B, 192, H, W)` to images `(B, 1, H, W)`, of no fixed range."""
        features = reflect(features)
        for layer in (self.c2, self.c3, self.c4):
            features = convolve_and_rectify(layer, features)
        return self.c5(features)  # type: ignore[no-any-return]


def msdnet(sources: Tensor, network: MsdNetNetwork, *, strategy: Strategy = "mean") -> Tensor:
    """Fuse K sources: encode each, merge the features, decode once.

    Args:
        sources: `(K, B, 1, H, W)` in 0..255, of the network's dtype, K >= 2, any H and W.
        network: The trained autoencoder.
        strategy: Fusion layer.

    Returns:
        `(B, 1, H, W)`, of no fixed range.

    >>> network = MsdNetNetwork().requires_grad_(False)
    >>> msdnet(torch.rand(2, 1, 1, 8, 9), network, strategy="l1_norm").shape
    torch.Size([1, 1, 8, 9])
    """
    count, batch = sources.shape[:2]
    features = network.encode(sources.flatten(0, 1)).unflatten(0, (count, batch))
    return network.decode(_MERGE[strategy](features))


def build_msdnet(
    parameters: MsdNetParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    return build_autoencoder(
        MsdNetNetwork,
        weights,
        partial(msdnet, strategy=parameters.strategy),
        device=device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        halo=MsdNetNetwork.receptive_radius,
        tile=192,
    )
