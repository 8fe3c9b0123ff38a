"""Autoencoders trained to reconstruct images, with the fusion layer left out.

Li & Wu, "DenseFuse", 2019, section III-A; Song et al., "Res2NetFuse", 2021, section III-B. Nothing
here reads or writes: images in, losses and weights out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from fusion_core.devices import constant, full_precision, without_initial_values
from fusion_core.errors import InvalidValueError
from fusion_core.methods.densefuse import DenseFuseNetwork
from fusion_core.methods.res2netfuse import Res2NetFuseNetwork, Residual
from fusion_core.metrics.filters import gaussian_taps
from fusion_core.parameters import Precision
from fusion_core.weights import Weights, load_weights

Autoencoder = Literal["densefuse", "res2netfuse"]
PixelNorm = Literal["euclidean", "mse"]

AUTOENCODERS: tuple[Autoencoder, ...] = get_args(Autoencoder)

_PEAK = 255.0
_WINDOW = 11
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of each parameter beside its own step count."""


class TrainingParameters(BaseModel):
    """What decides how a step changes the network."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Autoencoder
    """Whose network."""
    convolutions: Residual = "shared"
    """Of Res2NetFuse's residual block; see the method."""
    pixel_norm: PixelNorm
    """Pixel loss: `euclidean` distance of output and image, averaged over the batch (DenseFuse,
    Eq. 2), or mean squared error (`mse`, Res2NetFuse, Eq. 3); of images in 0..255."""
    ssim_weight: float = Field(ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the loss 1 - SSIM (DenseFuse, Eq. 1)."""
    learning_rate: float = Field(gt=0.0, le=1.0)
    """Of Adam."""
    batch: int = Field(ge=1, le=4096)
    """Crops a step, all workers together."""
    crop: int = Field(default=256, ge=_WINDOW, le=4096)
    """Side of the square crops."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the initial weights, the order of the images and the places of the crops."""
    precision: Precision = "fp32"
    """Of forward and backward passes; loss and weights are float32 in any case."""


PAPER: dict[Autoencoder, dict[str, Any]] = {
    "densefuse": {
        "pixel_norm": "euclidean",
        "ssim_weight": 100.0,
        "learning_rate": 1e-4,
        "batch": 2,
    },
    "res2netfuse": {"pixel_norm": "mse", "ssim_weight": 1.0, "learning_rate": 1e-4, "batch": 4},
}
"""What the papers train with.

DenseFuse is trained with lambda 1, 10, 100 and 1000; 100 gave the published weights that later
papers compare with. Res2NetFuse does not tell its learning rate: it is that of DenseFuse.
"""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch, scalars."""

    total: Tensor
    pixel: Tensor
    ssim: Tensor
    """1 - SSIM, before its weight."""


class Reconstruction(nn.Module):
    """An autoencoder as one module, `(B, 1, H, W)` in 0..255 to the same."""

    def __init__(self, network: DenseFuseNetwork | Res2NetFuseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode."""
        return self.network.decode(self.network.encode(images))


class Trainer:
    """A network in training: its weights, its optimiser, and one step after the other.

    Args:
        parameters: How.
        device: Where to compute.
        wrap: Applied to the module, to distribute it over workers for example.
    """

    def __init__(
        self,
        parameters: TrainingParameters,
        device: torch.device | str = "cpu",
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        self.parameters = parameters
        self._device = torch.device(device)
        module = Reconstruction(new_network(parameters)).to(self._device)
        module = module.to(memory_format=torch.channels_last)
        self._network = module.network
        self._module = wrap(module)
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=parameters.learning_rate)

    def step(self, images: Tensor) -> Losses:
        """Change the weights by one batch: `propagate`, then `update`."""
        losses = self.propagate(images)
        self.update()
        return losses

    def propagate(self, images: Tensor) -> Losses:
        """Compute losses and gradients of a batch.

        Args:
            images: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.

        Returns:
            The losses, without gradient, on the device: nothing is waited for.
        """
        with full_precision(self._device):
            losses = self._losses(images.to(self._device, torch.float32))
            self._optimiser.zero_grad(set_to_none=True)
            losses.total.backward()
        return Losses(losses.total.detach(), losses.pixel.detach(), losses.ssim.detach())

    def update(self) -> None:
        """Change the weights by the gradients."""
        self._optimiser.step()

    def _losses(self, images: Tensor) -> Losses:
        half = self.parameters.precision == "bf16"
        kind = self._device.type
        with torch.autocast(kind, torch.bfloat16) if half else contextlib.nullcontext():
            outputs = self._module(images)
        return reconstruction_losses(
            outputs.float(),
            images,
            pixel_norm=self.parameters.pixel_norm,
            ssim_weight=self.parameters.ssim_weight,
        )

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's weights, by the names of its method's weight files."""
        state = self._network.state_dict()
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}

    def state(self) -> dict[str, Tensor]:
        """Return a copy of all that the next step depends on."""
        found = {f"network.{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self._network.named_parameters():
            kept = self._optimiser.state.get(parameter, {})
            for moment in _MOMENTS:
                if moment in kept:
                    tensor = kept[moment].detach().cpu().contiguous().clone()
                    found[f"{moment}.{name}"] = tensor
        return found

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go back to what `state` returned after so many steps.

        Raises:
            InvalidValueError: It is the state of another network.
        """
        own = self._network.state_dict()
        named = dict(self._network.named_parameters())
        wanted = {f"network.{name}" for name in own}
        if steps:
            wanted |= {f"{moment}.{name}" for moment in _MOMENTS for name in named}
        if state.keys() != wanted:
            raise InvalidValueError("The checkpoint is of another network")
        self._network.load_state_dict({name: state[f"network.{name}"] for name in own})
        self._optimiser.state.clear()
        for name, parameter in named.items():
            if steps:
                self._optimiser.state[parameter] = {
                    "step": torch.tensor(float(steps)),
                    **{
                        moment: torch.empty_like(parameter).copy_(state[f"{moment}.{name}"])
                        for moment in _MOMENTS
                    },
                }


def new_network(parameters: TrainingParameters) -> DenseFuseNetwork | Res2NetFuseNetwork:
    """Make an untrained network; its values (torch's usual ones) follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        return _network(parameters.method, parameters.convolutions)


def _network(method: Autoencoder, convolutions: Residual) -> DenseFuseNetwork | Res2NetFuseNetwork:
    return DenseFuseNetwork() if method == "densefuse" else Res2NetFuseNetwork(convolutions)


def reconstruction_losses(
    outputs: Tensor, images: Tensor, *, pixel_norm: PixelNorm, ssim_weight: float
) -> Losses:
    """Compute the loss of reconstructions.

    Args:
        outputs: `(B, 1, H, W)` float32, sides of at least 11 pixels.
        images: What was to be reconstructed, in 0..255.
        pixel_norm: Norm of the pixel loss.
        ssim_weight: Weight of 1 - SSIM.
    """
    difference = outputs - images
    if pixel_norm == "euclidean":
        pixel = torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()
    else:
        pixel = difference.square().mean()
    ssim = 1.0 - similarity(outputs, images)
    return Losses(pixel + ssim_weight * ssim, pixel, ssim)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity (Wang et al. 2004) with gradient, a scalar.

    Gaussian windows of 11x11, sigma 1.5, that lie inside the images; the metric `SSIM` also takes
    those at the border, with the border's pixels repeated. In the precision of its arguments.

    Args:
        first: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.
        second: Likewise.
    """
    # Less half of the range: float32 variances are differences of large squares.
    first, second = first - _PEAK / 2, second - _PEAK / 2
    planes = torch.cat((first, second, first * first, second * second, first * second))
    mean_1, mean_2, square_1, square_2, product = _blur(planes).chunk(5)
    variances = square_1 - mean_1.square() + square_2 - mean_2.square()
    covariance = product - mean_1 * mean_2
    mean_1, mean_2 = mean_1 + _PEAK / 2, mean_2 + _PEAK / 2
    luminance = (2.0 * mean_1 * mean_2 + _C1) / (mean_1.square() + mean_2.square() + _C1)
    structure = (2.0 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).mean()


def _blur(planes: Tensor) -> Tensor:
    window = constant(tuple(gaussian_taps().tolist()), planes.device).to(planes.dtype)
    columns = functional.conv2d(planes, window.view(1, 1, -1, 1))
    return functional.conv2d(columns, window.view(1, 1, 1, -1))


def crop_image(
    image: NDArray[np.uint8], side: int, generator: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Cut a square out of a gray image.

    Args:
        image: `(H, W)`. One that is smaller than the square is enlarged to fit.
        side: Of the square.
        generator: Draws the place; the middle if there is none.

    Returns:
        `(side, side)`.
    """
    height, width = image.shape
    if min(height, width) < side:
        scale = side / min(height, width)
        size = max(side, round(width * scale)), max(side, round(height * scale))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        height, width = image.shape
    if generator is None:
        top, left = (height - side) // 2, (width - side) // 2
    else:
        top = int(generator.integers(height - side + 1))
        left = int(generator.integers(width - side + 1))
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def load_autoencoder(
    method: Autoencoder, weights: Weights, convolutions: Residual = "shared"
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
