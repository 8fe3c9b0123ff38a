"""What all trainings of networks have in common; this package does not read or write files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from fusion_core.training.adversarial import AdversarialTrainer
from fusion_core.training.parameters import AdversarialParameters, ReconstructionParameters
from fusion_core.training.reconstruction import ReconstructionTrainer


class Trainer(Protocol):
    """The state of a training: networks, optimisers, and number of steps."""

    def propagate(self, images: Tensor, samples: Sequence[int]) -> tuple[Tensor, ...]:
        """Compute the losses of a batch, and the gradients of the network.

        Args:
            images: `(B, C, S, S)` in 0..255; C is `parameters.sources`.
            samples: Numbers of the samples in the training, from which all that is random follows.

        Returns:
            The losses that `parameters.losses` names, scalars without gradient.
        """

    def update(self) -> None:
        """Update the weights by the gradients of `propagate`."""

    def evaluate(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the losses of images, without learning from them or asking other workers."""

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the complete state, with the weights as `network.NAME`."""

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after a number of steps.

        Raises:
            InvalidValueError: The state is of another network.
        """


def new_trainer(
    parameters: ReconstructionParameters | AdversarialParameters,
    device: torch.device | str = "cpu",
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Trainer:
    """Begin a training.

    Args:
        parameters: Parameters of the training.
        device: Device to compute on.
        wrap: Applied to each module that learns, for example to distribute it over workers.
        average: Returns the mean of a tensor over the workers, which gradients pass.
    """
    if isinstance(parameters, AdversarialParameters):
        return AdversarialTrainer(parameters, device, wrap, average)
    return ReconstructionTrainer(parameters, device, wrap)
