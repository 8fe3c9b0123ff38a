"""DeepFuse: an autoencoder of five layers, in the form that the papers compare with.

Prabhakar, Srikar & Babu, "DeepFuse: A Deep Unsupervised Approach for Exposure Fusion with Extreme
Exposure Image Pairs", ICCV, 2017, https://doi.org/10.1109/ICCV.2017.505.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_core.methods import strategies
from fusion_core.methods.autoencoders import build_autoencoder
from fusion_core.methods.specs.deepfuse import DeepFuseParameters
from fusion_core.networks import Weights, convolve_and_rectify, reflect


class DeepFuseNetwork(nn.Module):
    """The autoencoder: C1 and C2 encode, C3 to C5 decode, with 3x3 filters and reflection."""

    receptive_radius: ClassVar[int] = 5
    """Radius in pixels of the receptive field of encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3)
        self.c2 = nn.Conv2d(16, 32, 3)
        self.c3 = nn.Conv2d(32, 32, 3)
        self.c4 = nn.Conv2d(32, 16, 3)
        self.c5 = nn.Conv2d(16, 1, 3)

    def encode(self, images: Tensor) -> Tensor:
        """Map images `(B, 1, H, W)` in 0..255 to codes `(B, 32, H, W)` of any sign."""
        return self.c2(convolve_and_rectify(self.c1, reflect(images)))  # type: ignore[no-any-return]

    def decode(self, codes: Tensor) -> Tensor:
        """Map codes `(B, 32, H, W)` to images `(B, 1, H, W)`, of no fixed range."""
        features = reflect(codes)
        for layer in (self.c3, self.c4):
            features = convolve_and_rectify(layer, features)
        return self.c5(features)  # type: ignore[no-any-return]


def deepfuse(sources: Tensor, network: DeepFuseNetwork) -> Tensor:
    """Fuse K sources: encode each, add the codes, decode once.

    Args:
        sources: `(K, B, 1, H, W)` in 0..255, of the network's dtype, K >= 2, any H and W.
        network: The trained autoencoder.

    Returns:
        `(B, 1, H, W)`, of no fixed range.

    Deviations: the paper fuses the luma of exposures with 5x5 and 7x7 filters and trains on the
    fused image. The papers of infrared and visible images compare with a smaller form that is
    trained to reconstruct images, as here.

    >>> network = DeepFuseNetwork().requires_grad_(False)
    >>> deepfuse(torch.rand(2, 1, 1, 8, 9), network).shape
    torch.Size([1, 1, 8, 9])
    """
    count, batch = sources.shape[:2]
    codes = network.encode(sources.flatten(0, 1)).unflatten(0, (count, batch))
    return network.decode(strategies.addition(codes))


def build_deepfuse(
    parameters: DeepFuseParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    return build_autoencoder(
        DeepFuseNetwork,
        weights,
        deepfuse,
        device=device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        halo=DeepFuseNetwork.receptive_radius,
    )
