"""A network with the optimiser that trains it, as tensors that can be kept and restored."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""State that Adam keeps of each parameter, in addition to its step count."""


class Learner:
    """A network and its Adam optimiser.

    Args:
        network: The network, on its device.
        learning_rate: Learning rate of Adam.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self._network = network
        self._optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def differentiate(self, loss: Tensor) -> None:
        """Compute the gradients of a loss."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()

    def update(self) -> None:
        """Update the weights by their gradients."""
        self._optimiser.step()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's weights."""
        state = self._network.state_dict()
        return {name: _copy(tensor) for name, tensor in state.items()}

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the weights, named `network.NAME`, and of Adam's moments."""
        found = {f"network.{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self._network.named_parameters():
            kept = self._optimiser.state.get(parameter, {})
            found |= {f"{m}.{name}": _copy(kept[m]) for m in _MOMENTS if m in kept}
        return found

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after a number of updates.

        Raises:
            InvalidValueError: The state is of another network.
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


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
