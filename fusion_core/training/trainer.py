"""What all trainings of networks have in common; this package does not read or write files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from fusion_core.training.parameters import TrainingParameters
from fusion_core.training.reconstruction import ReconstructionTrainer

Wrap = Callable[[nn.Module], nn.Module]


class Trainer(Protocol):
    """The state of a training: networks, optimisers, and number of steps."""

    def propagate(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute losses and gradients of a batch `(B, C, S, S)` in 0..255.

        Returns:
            The losses that `parameters.losses` names, scalars without gradient.
        """

    def update(self) -> None:
        """Update the weights by the gradients of `propagate`."""

    def evaluate(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the losses of images, without learning from them."""

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the complete state, with the weights as `network.NAME`."""

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after a number of steps.

        Raises:
            InvalidValueError: The state is of another network.
        """


def new_trainer(
    parameters: TrainingParameters,
    device: torch.device | str = "cpu",
    wrap: Wrap = lambda module: module,
) -> Trainer:
    """Begin a training.

    Args:
        parameters: Parameters of the training.
        device: Device to compute on.
        wrap: Applied to each module that learns, for example to distribute it over workers.
    """
    return ReconstructionTrainer(parameters, device, wrap)
