"""A network that takes each pixel from the source with the stronger gradients around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import irfuse


class Parameters(irfuse.MethodParameters):
    """Parameters of the method."""

    sharpness: float = 8.0
    """How decisively the source with the stronger gradient is preferred; 0 is the mean."""


class Network(nn.Module):
    """Weights the sources pixel by pixel, on images in 0..1 whose sides are multiples of 4."""

    kernels: Tensor

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness
        row = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        self.register_buffer("kernels", torch.stack((row, row.T)).unsqueeze(1))

    def forward(self, sources: Tensor) -> Tensor:
        """Fuse `(K, B, 1, H, W)` to `(B, 1, H, W)`."""
        weights = (self.sharpness * self.activity(sources)).softmax(dim=0)
        return (weights * sources).sum(dim=0)

    def activity(self, sources: Tensor) -> Tensor:
        """Return the mean gradient strength of blocks of 4x4 pixels."""
        images = functional.pad(sources.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
        strength = functional.conv2d(images, self.kernels).norm(dim=1, keepdim=True)
        blocks = functional.avg_pool2d(strength, 4)
        smooth = functional.interpolate(blocks, scale_factor=4.0, mode="bilinear")
        return smooth.unflatten(0, sources.shape[:2])


@irfuse.method(
    title="Gradient-weighted fusion",
    paper="An example, 2026",
    parameters=Parameters,
    input_range=(0, 1),
    pad_multiple=4,
    most_sources=None,
)
def build(parameters: Parameters, weights: None, device: torch.device) -> nn.Module:
    """Return the network, which irfuse moves to the device."""
    return Network(parameters.sharpness)
