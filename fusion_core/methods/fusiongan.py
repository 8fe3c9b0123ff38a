"""FusionGAN: the generator of a generative adversarial network.

Ma, Yu, Liang, Li & Jiang, "FusionGAN: A generative adversarial network for infrared and visible
image fusion", Information Fusion 48, 2019, https://doi.org/10.1016/j.inffus.2018.09.004.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_core.filters import pad
from fusion_core.methods.sources import split_pair
from fusion_core.methods.specs.fusiongan import FusionGanParameters
from fusion_core.networks import (
    Weights,
    load_weights,
    speed_up_convolutions,
    without_initial_values,
)

_HALF_RANGE = 127.5
_EPSILON = 1e-5
_SLOPE = 0.2
_STRIPE_PIXELS = 65536
"""Pixels of the stripes in which layers are computed, whose 256 maps take 64 MiB."""

Step = Callable[[Tensor], Tensor]


class Moments(NamedTuple):
    """Mean and variance of each map, `(C,)`, by which a layer is normalised."""

    mean: Tensor
    variance: Tensor


class FusionGanNetwork(nn.Module):
    """The generator: five convolutions without padding, of which the first four are normalised."""

    receptive_radius: ClassVar[int] = 6
    """Radius in pixels of the receptive field, by which the result is smaller on each side."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(2, 256, 5)
        self.c2 = nn.Conv2d(256, 128, 5)
        self.c3 = nn.Conv2d(128, 64, 3)
        self.c4 = nn.Conv2d(64, 32, 3)
        self.c5 = nn.Conv2d(32, 1, 1)

    def forward(self, pairs: Tensor, moments: Callable[[Tensor], Moments]) -> Tensor:
        """Fuse pairs at once, which holds all layers.

        Args:
            pairs: `(B, 2, H + 12, W + 12)` in -1..1, the infrared image first.
            moments: Returns what the maps of a layer `(B, C, h, w)` are normalised by.

        Returns:
            `(B, 1, H, W)` in -1..1.
        """
        features = pairs
        for layer in (self.c1, self.c2, self.c3, self.c4):
            maps = layer(features)
            features = activate(maps, moments(maps))
        return torch.tanh(self.c5(features))


def measure_moments(maps: Tensor) -> Moments:
    """Return the moments of maps `(B, C, H, W)` over all images and positions, in float32."""
    variance, mean = torch.var_mean(maps.float(), dim=(0, 2, 3), correction=0)
    return Moments(mean, variance)


def activate(maps: Tensor, moments: Moments) -> Tensor:
    """Normalise maps `(B, C, H, W)`, and apply the leaky ReLU."""
    mean, variance = (moment.view(-1, 1, 1) for moment in moments)
    scale = (variance + _EPSILON).rsqrt()
    normalised = (maps - mean.to(maps.dtype)) * scale.to(maps.dtype)
    return functional.leaky_relu(normalised, _SLOPE)


def scale_levels(levels: Tensor) -> Tensor:
    """Map gray levels 0..255 to -1..1, the range of the network."""
    return levels / _HALF_RANGE - 1.0


def fusiongan(sources: Tensor, network: FusionGanNetwork) -> Tensor:
    """Fuse infrared and visible images by the generator.

    Layers are normalised by the mean and the variance of their maps over the whole image, as by the
    published code, whose batch normalisation uses the statistics of the image that it fuses,
    without the trained scale and shift. Therefore the result is not that of a part of the image.

    Args:
        sources: `(2, B, 1, H, W)` in 0..255, the infrared images first, any H and W.
        network: The trained generator; it computes in its own dtype.

    Returns:
        `(B, 1, H, W)` in 0..255, of the network's dtype.

    Raises:
        InvalidValueError: There are not exactly two sources.

    >>> network = FusionGanNetwork().requires_grad_(False)
    >>> fusiongan(torch.rand(2, 1, 1, 8, 9), network).shape
    torch.Size([1, 1, 8, 9])
    """
    pairs = torch.cat(split_pair(sources, "fusiongan", dtype=torch.float32), dim=1)
    radius = network.receptive_radius
    padded = pad(scale_levels(pairs), (radius, radius, radius, radius), "replicate")
    padded = padded.to(network.c1.weight.dtype, memory_format=torch.channels_last)
    fused = torch.cat([_generate(network, pair) for pair in padded.split(1)])
    return (fused + 1.0) * _HALF_RANGE


def build_fusiongan(
    parameters: FusionGanParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the generator onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights do not fit the network.
    """
    network = without_initial_values(FusionGanNetwork)
    load_weights(network, weights)
    dtype = torch.bfloat16 if parameters.precision == "bf16" else torch.float32
    network.to(device, dtype).to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)
    speed_up_convolutions(network, parameters.convolution)
    return lambda sources: fusiongan(sources, network).float()


def _generate(network: FusionGanNetwork, pair: Tensor) -> Tensor:
    """Fuse one pair `(1, 2, H + 12, W + 12)` layer by layer, in stripes."""
    # The maps of the first layer are the largest, and quickly computed: twice, rather than kept.
    moments = _moments_of(_stripes(network.c1, pair, _border(network.c1)))
    prepare: Step = _Chain(network.c1, partial(activate, moments=moments))
    features, border = pair, _border(network.c1)
    for layer in (network.c2, network.c3, network.c4):
        features = _join(_Chain(prepare, layer), features, border + _border(layer))
        moments = _moments_of(features.split(_rows(features), dim=2))
        prepare, border = partial(activate, moments=moments), 0
    return torch.tanh(_join(_Chain(prepare, network.c5), features, border))


@dataclass(frozen=True, slots=True)
class _Chain:
    """Two steps, one after the other."""

    first: Step
    second: Step

    def __call__(self, part: Tensor) -> Tensor:
        return self.second(self.first(part))


def _border(layer: nn.Conv2d) -> int:
    """Return the number of rows and columns by which the result of a layer is smaller."""
    return layer.kernel_size[0] - 1


def _rows(features: Tensor) -> int:
    """Return the number of rows of a stripe."""
    return max(1, _STRIPE_PIXELS // features.shape[-1])


def _stripes(step: Step, features: Tensor, border: int) -> Iterator[Tensor]:
    """Yield the result of a step, which is smaller by `border`, in stripes of rows."""
    rows = _rows(features)
    for top in range(0, features.shape[-2] - border, rows):
        yield step(features[..., top : top + rows + border, :])


def _join(step: Step, features: Tensor, border: int) -> Tensor:
    """Return the whole result of a step."""
    height = features.shape[-2] - border
    result: Tensor | None = None
    top = 0
    for stripe in _stripes(step, features, border):
        if result is None:
            shape = (*stripe.shape[:2], height, stripe.shape[-1])
            result = torch.empty(
                shape, dtype=stripe.dtype, device=stripe.device, memory_format=torch.channels_last
            )
        bottom = top + stripe.shape[-2]
        result[..., top:bottom, :] = stripe
        top = bottom
    return torch.empty(0) if result is None else result


def _moments_of(stripes: Iterable[Tensor]) -> Moments:
    """Return the moments of the maps whose stripes `(1, C, h, W)` are given."""
    found = [(stripe.shape[-2], measure_moments(stripe)) for stripe in stripes]
    total = sum(rows for rows, _ in found)
    shares = [(rows / total, moments) for rows, moments in found]
    zero = torch.zeros_like(found[0][1].mean)
    mean = sum((share * part.mean for share, part in shares), start=zero)
    spread = (share * (part.variance + (part.mean - mean).square()) for share, part in shares)
    return Moments(mean, sum(spread, start=zero))
