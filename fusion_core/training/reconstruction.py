"""Training of autoencoders, without the fusion layer, to reconstruct images.

Li & Wu, "DenseFuse", 2019, section III-A; Song et al., "Res2NetFuse", 2021, section III-B. This
module does not read or write files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fusion_core.networks import full_precision
from fusion_core.training.autoencoders import Reconstruction, new_network
from fusion_core.training.learner import Learner
from fusion_core.training.losses import Losses, reconstruction_losses
from fusion_core.training.parameters import ReconstructionParameters


class ReconstructionTrainer:
    """The state of a training: network, optimiser, and number of steps.

    Args:
        parameters: Parameters of the training.
        device: Device to compute on.
        wrap: Applied to the module, for example to distribute it over workers.
    """

    def __init__(
        self,
        parameters: ReconstructionParameters,
        device: torch.device | str = "cpu",
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        self.parameters = parameters
        self._device = torch.device(device)
        module = Reconstruction(new_network(parameters)).to(self._device)
        self._plain = module.to(memory_format=torch.channels_last)
        self._module = wrap(self._plain)
        self._learner = Learner(module.network, parameters.learning_rate)

    def step(self, images: Tensor) -> Losses:
        """Update the weights by one batch: `propagate`, then `update`.

        Args:
            images: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.

        Returns:
            The losses of the batch before the update.
        """
        losses = self.propagate(images)
        self.update()
        return losses

    def propagate(self, images: Tensor, samples: Sequence[int] = ()) -> Losses:
        """Compute losses and gradients of a batch.

        Args:
            images: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.
            samples: Not used.

        Returns:
            The losses, without gradient, on the device; the host does not wait for them.
        """
        del samples
        with full_precision(self._device):
            losses = self._losses(self._module, images)
            self._learner.differentiate(losses.total)
        return Losses(*(loss.detach() for loss in losses))

    def evaluate(self, images: Tensor) -> Losses:
        """Compute the losses of images, without learning from them.

        Args:
            images: `(B, 1, H, W)` in 0..255, sides of at least 11 pixels.
        """
        with torch.no_grad(), full_precision(self._device):
            return self._losses(self._plain, images)

    def update(self) -> None:
        """Update the weights by the gradients of `propagate`."""
        self._learner.update()

    def _losses(self, module: nn.Module, images: Tensor) -> Losses:
        images = images.to(self._device, torch.float32)
        half = self.parameters.precision == "bf16"
        device = self._device.type
        with torch.autocast(device, torch.bfloat16) if half else contextlib.nullcontext():
            outputs = module(images)
        return reconstruction_losses(
            outputs.float(),
            images,
            pixel_norm=self.parameters.pixel_norm,
            ssim_weight=self.parameters.ssim_weight,
            pixel_weight=self.parameters.pixel_weight,
            similarity=self.parameters.similarity,
        )

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's weights, by the names of its method's weight files."""
        return self._learner.weights()

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the complete state of the training."""
        return self._learner.state()

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after a number of steps.

        Args:
            state: The tensors.
            steps: Number of updates that led to them.

        Raises:
            InvalidValueError: The state is of another network.
        """
        self._learner.restore(state, steps)
