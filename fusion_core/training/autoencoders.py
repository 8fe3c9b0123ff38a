"""The autoencoders without their fusion layer: images to their reconstructions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusion_core.choices import Autoencoder, ResidualConvolutions
from fusion_core.methods import DenseFuseNetwork, Res2NetFuseNetwork
from fusion_core.networks import Weights, load_weights, without_initial_values
from fusion_core.training.losses import _PEAK
from fusion_core.training.parameters import TrainingParameters


class Reconstruction(nn.Module):
    """An autoencoder as one module, from `(B, 1, H, W)` in 0..255 to its reconstruction."""

    def __init__(self, network: DenseFuseNetwork | Res2NetFuseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode."""
        return self.network.decode(self.network.encode(images))


def new_network(parameters: TrainingParameters) -> DenseFuseNetwork | Res2NetFuseNetwork:
    """Build an untrained network with torch's initial values, which depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        return _network(parameters.method, parameters.convolutions)


def _network(
    method: Autoencoder, convolutions: ResidualConvolutions
) -> DenseFuseNetwork | Res2NetFuseNetwork:
    return DenseFuseNetwork() if method == "densefuse" else Res2NetFuseNetwork(convolutions)


def load_autoencoder(
    method: Autoencoder, weights: Weights, convolutions: ResidualConvolutions = "shared"
) -> nn.Module:
    """Load a trained autoencoder: images `(B, 1, H, W)` in 0..255 to their reconstructions.

    Raises:
        WeightsError: The weights are of another network.
    """
    network = without_initial_values(lambda: _network(method, convolutions))
    load_weights(network, weights)
    module: nn.Module = Reconstruction(network.eval().requires_grad_(False))
    return module.to(memory_format=torch.channels_last)


def reconstruct_image(module: nn.Module, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode and decode a gray image `(H, W)`, rounded half up and clipped to 0..255."""
    with torch.inference_mode():
        source = torch.tensor(image)[None, None].float()
        levels = (module(source) + 0.5).floor().clamp(0.0, _PEAK)
        pixels: NDArray[np.uint8] = levels[0, 0].to(torch.uint8).numpy()
    return pixels
