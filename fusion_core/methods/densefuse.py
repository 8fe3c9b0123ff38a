"""DenseFuse: an autoencoder with a dense block.

Li & Wu, "DenseFuse: A Fusion Approach to Infrared and Visible Images", IEEE Transactions on Image
Processing, 2019, https://doi.org/10.1109/TIP.2018.2887342.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusion_core.methods import strategies
from fusion_core.methods.autoencoders import build_autoencoder
from fusion_core.methods.specs.densefuse import DenseFuseParameters
from fusion_core.networks import (
    Weights,
    convolve_and_rectify,
    convolve_densely,
    reflect,
    weighted_sum,
)


class DenseFuseNetwork(nn.Module):
    """The autoencoder of Table I: C1, a dense block of three layers, and the decoder C2 to C5.

    Every convolution is 3x3 with reflection padding, as in the released code.
    """

    receptive_radius: ClassVar[int] = 8
    """Radius in pixels of the receptive field of encoder and decoder, eight convolutions deep."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3)
        self.dc1 = nn.Conv2d(16, 16, 3)
        self.dc2 = nn.Conv2d(32, 16, 3)
        self.dc3 = nn.Conv2d(48, 16, 3)
        self.c2 = nn.Conv2d(64, 64, 3)
        self.c3 = nn.Conv2d(64, 32, 3)
        self.c4 = nn.Conv2d(32, 16, 3)
        self.c5 = nn.Conv2d(16, 1, 3)

    def encode(self, images: Tensor) -> Tensor:
        """Map images `(B, 1, H, W)` in 0..255 to feature maps `(B, 64, H + 2, W + 2)`.

        The maps have a border of one reflected pixel, as the next layer needs it.
        """
        return convolve_densely((self.c1, self.dc1, self.dc2, self.dc3), reflect(images))

    def decode(self, features: Tensor) -> Tensor:
        """Map feature maps `(B, 64, H + 2, W + 2)`, with border, to images `(B, 1, H, W)`.

        The images are of no fixed range.
        """
        for layer in (self.c2, self.c3, self.c4):
            features = convolve_and_rectify(layer, features)
        return self.c5(features)  # type: ignore[no-any-return]


def densefuse(
    sources: Tensor,
    network: DenseFuseNetwork,
    *,
    strategy: Literal["addition", "mean", "l1_norm"] = "addition",
    radius: int = 1,
) -> Tensor:
    """Fuse K sources: encode each, merge the feature maps, decode once.

    Args:
        sources: `(K, B, 1, H, W)` in 0..255, of the network's dtype, K >= 2, any H and W.
        network: The trained autoencoder.
        strategy: Fusion layer.
        radius: Block radius of the l1-norm strategy.

    Returns:
        `(B, 1, H, W)`, of no fixed range (addition decodes a sum of features).

    >>> import torch
    >>> network = DenseFuseNetwork().requires_grad_(False)
    >>> densefuse(torch.rand(2, 1, 1, 8, 9), network, strategy="l1_norm").shape
    torch.Size([1, 1, 8, 9])
    """
    count, batch = sources.shape[:2]
    features = network.encode(sources.flatten(0, 1)).unflatten(0, (count, batch))
    if strategy == "l1_norm":
        weights = strategies.l1_weights(features[..., 1:-1, 1:-1], radius=radius)
        bordered = reflect(weights.flatten(0, 1)).unflatten(0, (count, batch))
        return network.decode(weighted_sum(bordered, features))
    merge = strategies.addition if strategy == "addition" else strategies.mean
    return network.decode(merge(features))


def build_densefuse(
    parameters: DenseFuseParameters, weights: Weights, device: torch.device, *, tile: int = 256
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Args:
        parameters: Parameters of the method.
        weights: Weights of the autoencoder.
        device: Device to compute on.
        tile: Longest side in pixels of the tiles into which larger images are split.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    return build_autoencoder(
        DenseFuseNetwork,
        weights,
        partial(densefuse, strategy=parameters.strategy, radius=parameters.radius),
        device=device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        halo=DenseFuseNetwork.receptive_radius + parameters.radius,
        tile=tile,
    )
