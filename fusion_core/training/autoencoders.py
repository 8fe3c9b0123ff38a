"""The autoencoders without their fusion layer: images to their reconstructions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusion_core.choices import Autoencoder, ResidualConvolutions
from fusion_core.methods import (
    DeepFuseNetwork,
    DenseFuseNetwork,
    MsdNetNetwork,
    Res2NetFuseNetwork,
)
from fusion_core.networks import (
    Weights,
    find_device,
    full_precision,
    load_weights,
    map_tiles,
    without_initial_values,
)
from fusion_core.training.losses import _PEAK
from fusion_core.training.parameters import ReconstructionParameters

AutoencoderNetwork = DeepFuseNetwork | DenseFuseNetwork | MsdNetNetwork | Res2NetFuseNetwork
"""A network with `encode`, `decode` and `receptive_radius`."""

_NETWORKS: dict[Autoencoder, type[DeepFuseNetwork | DenseFuseNetwork | MsdNetNetwork]] = {
    "densefuse": DenseFuseNetwork,
    "deepfuse": DeepFuseNetwork,
    "msdnet": MsdNetNetwork,
}


class Reconstruction(nn.Module):
    """An autoencoder as one module, from `(B, 1, H, W)` in 0..255 to its reconstruction."""

    def __init__(self, network: AutoencoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode."""
        return self.network.decode(self.network.encode(images))


def new_network(parameters: ReconstructionParameters) -> AutoencoderNetwork:
    """Build an untrained network with torch's initial values, which depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        return _network(parameters.method, parameters.convolutions)


def _network(method: Autoencoder, convolutions: ResidualConvolutions) -> AutoencoderNetwork:
    return Res2NetFuseNetwork(convolutions) if method == "res2netfuse" else _NETWORKS[method]()


def load_autoencoder(
    method: Autoencoder,
    weights: Weights,
    convolutions: ResidualConvolutions = "shared",
    device: torch.device | str = "cpu",
) -> Reconstruction:
    """Load a trained autoencoder: images `(B, 1, H, W)` in 0..255 to their reconstructions.

    Raises:
        InvalidValueError: The device does not exist on this machine.
        WeightsError: The weights are of another network.
    """
    network = without_initial_values(lambda: _network(method, convolutions))
    load_weights(network, weights)
    module = Reconstruction(network.eval().requires_grad_(False))
    return module.to(find_device(device)).to(memory_format=torch.channels_last)


def reconstruct_image(
    module: Reconstruction, image: NDArray[np.uint8], *, tile: int = 256
) -> NDArray[np.uint8]:
    """Encode and decode a gray image `(H, W)`, rounded half up and clipped to 0..255.

    Args:
        module: The autoencoder.
        image: `(H, W)`, any size.
        tile: Longest side in pixels of the tiles into which larger images are split. Without them a
            level can be rounded the other way.

    Returns:
        `(H, W)`.
    """
    device = next(module.parameters()).device
    with torch.inference_mode(), full_precision(device):
        source = torch.tensor(image, device=device)[None, None]
        levels = map_tiles(
            lambda part: _to_levels(module(part.float())),
            source,
            tile=tile,
            halo=module.network.receptive_radius,
        )
        pixels: NDArray[np.uint8] = levels[0, 0].cpu().numpy()
    return pixels


def _to_levels(images: Tensor) -> Tensor:
    return (images + 0.5).floor().clamp(0.0, _PEAK).to(torch.uint8)
