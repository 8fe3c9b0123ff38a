"""Loading of methods whose autoencoder fuses tiles of an image independently."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from fusion_core.choices import Convolution, Precision
from fusion_core.networks import (
    Weights,
    load_weights,
    map_tiles,
    speed_up_convolutions,
    without_initial_values,
)

N = TypeVar("N", bound=nn.Module)


def build_autoencoder(
    network_type: Callable[[], N],
    weights: Weights,
    fuse: Callable[[Tensor, N], Tensor],
    *,
    device: torch.device,
    precision: Precision,
    convolution: Convolution,
    halo: int,
    tile: int = 256,
) -> Callable[[Tensor], Tensor]:
    """Load a network onto a device and return the function that fuses batches.

    Args:
        network_type: Builds the network.
        weights: Weights of the autoencoder.
        fuse: Fuses sources `(K, B, 1, H, W)` with the network.
        device: Device to compute on.
        precision: Precision of the network.
        convolution: Algorithm of 3x3 convolutions in fp32 on a CPU.
        halo: Pixels around a tile that its result depends on.
        tile: Longest side in pixels of the tiles into which larger images are split.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    network = without_initial_values(network_type)
    load_weights(network, weights)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    network.to(device, dtype).to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)
    speed_up_convolutions(network, convolution)

    def fuse_batch(sources: Tensor) -> Tensor:
        fused = map_tiles(lambda part: fuse(part, network), sources.to(dtype), tile=tile, halo=halo)
        return fused.float()

    return fuse_batch
