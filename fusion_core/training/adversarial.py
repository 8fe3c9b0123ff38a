"""Training of FusionGAN's generator against a discriminator.

Ma, Yu, Liang, Li & Jiang, "FusionGAN: A generative adversarial network for infrared and visible
image fusion", Information Fusion 48, 2019, section 3, https://doi.org/10.1016/j.inffus.2018.09.004.

Deviations from the published code: crops are drawn at random positions rather than on a grid; batch
normalisation has no scale and shift, which that code leaves out when it fuses; and the weights are
not divided by their spectral norm, which the batch normalisation after them undoes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from fusion_core.methods.fusiongan import FusionGanNetwork, Moments, activate, scale_levels
from fusion_core.networks import full_precision
from fusion_core.training.learner import Learner
from fusion_core.training.parameters import AdversarialParameters

_REAL = (0.7, 1.2)
"""Range of the soft labels of visible images, and of fused ones that are to be taken for them."""
_FUSED = (0.0, 0.3)
"""Range of the soft labels of fused images."""
_PREFIX = "discriminator."
"""Prefix of the discriminator's part of the state."""

MeasureMoments = Callable[[Tensor], Moments]


class AdversarialLosses(NamedTuple):
    """Losses of a batch, scalars."""

    total: Tensor
    """The generator's loss (Eq. 5)."""
    adversarial: Tensor
    """Its adversarial loss (Eq. 6)."""
    content: Tensor
    """Its content loss (Eq. 7), before its weight."""
    discriminator: Tensor
    """The discriminator's loss in its last step (Eq. 8)."""


class Discriminator(nn.Module):
    """Tells visible from fused images: four convolutions and a linear unit.

    Args:
        side: Side of the images in pixels, at least 31.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 3, stride=2)
        self.c2 = nn.Conv2d(32, 64, 3, stride=2)
        self.c3 = nn.Conv2d(64, 128, 3, stride=2)
        self.c4 = nn.Conv2d(128, 256, 3, stride=2)
        for _ in range(4):
            side = (side - 1) // 2
        self.score = nn.Linear(256 * side * side, 1)

    def forward(self, images: Tensor, moments: MeasureMoments) -> Tensor:
        """Score images `(B, 1, S, S)` in -1..1: `(B,)`, near 1 for visible ones."""
        features = functional.leaky_relu(self.c1(images), 0.2)
        for layer in (self.c2, self.c3, self.c4):
            maps = layer(features)
            features = activate(maps, moments(maps))
        scores: Tensor = self.score(features.flatten(1))[:, 0]
        return scores


def content_loss(
    fused: Tensor, infrared: Tensor, visible: Tensor, gradient_weight: float
) -> Tensor:
    """Return the content loss with gradient (Eq. 7), a scalar.

    It is the mean square of the difference to the infrared image, and, weighted, of the difference
    of the Laplacian (four neighbours, inside the image) to that of the visible image.

    Args:
        fused: `(B, 1, H, W)` in -1..1.
        infrared: Likewise.
        visible: Likewise.
        gradient_weight: Weight xi of the second term.
    """
    difference = fused - visible
    neighbours = (
        difference[..., :-2, 1:-1]
        + difference[..., 2:, 1:-1]
        + difference[..., 1:-1, :-2]
        + difference[..., 1:-1, 2:]
    )
    laplacian = neighbours - 4.0 * difference[..., 1:-1, 1:-1]
    intensity = (fused - infrared).square().mean()
    return intensity + gradient_weight * laplacian.square().mean()


class AdversarialTrainer:
    """The state of a training: generator, discriminator, their optimisers, and number of steps.

    Args:
        parameters: Parameters of the training.
        device: Device to compute on.
        wrap: Applied to each module that learns, for example to distribute it over workers.
        average: Returns the mean of a tensor over the workers, which gradients pass; for the batch
            normalisation.
    """

    def __init__(
        self,
        parameters: AdversarialParameters,
        device: torch.device | str = "cpu",
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        self.parameters = parameters
        self._device = torch.device(device)
        self._border = FusionGanNetwork.receptive_radius
        self._average = average
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(parameters.seed)
            generator = FusionGanNetwork()
            discriminator = Discriminator(parameters.crop - 2 * self._border)
        for module in (generator, discriminator):
            module.to(self._device).to(memory_format=torch.channels_last)
        self._network, self._critic = generator, discriminator
        self._generate = wrap(generator)
        self._compare = wrap(_Comparison(discriminator))
        self._generator = Learner(generator, parameters.learning_rate)
        self._discriminator = Learner(discriminator, parameters.learning_rate)

    def propagate(self, images: Tensor, samples: Sequence[int]) -> AdversarialLosses:
        """Train the discriminator on a batch, and compute the gradients of the generator.

        Args:
            images: Infrared and visible images, `(B, 2, S, S)` in 0..255; S is the `crop`.
            samples: Numbers of the samples in the training, from which their soft labels follow.

        Returns:
            The losses, without gradient, on the device.
        """
        labels = self._labels(samples)
        with full_precision(self._device):
            pairs, infrared, visible = self._prepare(images)
            with self._autocast():
                fused = self._generate(pairs, self._moments).float()
            for real, false in zip(labels[0:-1:2], labels[1:-1:2], strict=True):
                with self._autocast():
                    scores = self._compare(visible, fused.detach(), self._moments)
                lesson = _square(scores[0], real) + _square(scores[1], false)
                self._discriminator.differentiate(lesson)
                self._discriminator.update()
            # Without parameters that learn, so that this pass changes the generator alone.
            fixed = {name: tensor.detach() for name, tensor in self._critic.named_parameters()}
            with self._autocast():
                score = functional_call(self._critic, fixed, (fused, self._moments))
            losses = self._losses(fused, infrared, visible, _square(score, labels[-1]), lesson)
            self._generator.differentiate(losses.total)
        return AdversarialLosses(*(loss.detach() for loss in losses))

    def update(self) -> None:
        """Update the generator by the gradients of `propagate`."""
        self._generator.update()

    def evaluate(self, images: Tensor) -> AdversarialLosses:
        """Compute the losses of images, without learning from them, with the mean soft labels.

        Args:
            images: Infrared and visible images, `(B, 2, S, S)` in 0..255; S is the `crop`.
        """
        real, false = (torch.tensor(sum(ends) / 2, device=self._device) for ends in (_REAL, _FUSED))
        with torch.no_grad(), full_precision(self._device):
            pairs, infrared, visible = self._prepare(images)
            with self._autocast():
                fused = self._network(pairs, measure_batch).float()
                scores = [self._critic(given, measure_batch) for given in (visible, fused)]
            lesson = _square(scores[0], real) + _square(scores[1], false)
            return self._losses(fused, infrared, visible, _square(scores[1], real), lesson)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the generator's weights, by the names of its method's weight files."""
        return self._generator.weights()

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the complete state of the training."""
        other = self._discriminator.state()
        return {
            **self._generator.state(),
            **{f"{_PREFIX}{name}": tensor for name, tensor in other.items()},
        }

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after a number of steps.

        Raises:
            InvalidValueError: The state is of other networks.
        """
        own = {name: tensor for name, tensor in state.items() if not name.startswith(_PREFIX)}
        other = {
            name.removeprefix(_PREFIX): tensor for name, tensor in state.items() if name not in own
        }
        self._generator.restore(own, steps)
        self._discriminator.restore(other, steps * self.parameters.discriminator_steps)

    def _prepare(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pairs in -1..1, and the parts of both images that the generator fuses."""
        pairs = scale_levels(images.to(self._device, torch.float32))
        pairs = pairs.contiguous(memory_format=torch.channels_last)
        inner = slice(self._border, -self._border)
        infrared, visible = pairs[..., inner, inner].split(1, dim=1)
        return pairs, infrared, visible.contiguous()

    def _labels(self, samples: Sequence[int]) -> Tensor:
        """Return soft labels: of a visible and a fused image in each step, and of the generator.

        Returns:
            `(2 * discriminator_steps + 1, B)`.
        """
        ranges = [_REAL, _FUSED] * self.parameters.discriminator_steps + [_REAL]
        low, high = np.array(ranges).T
        seed = self.parameters.seed
        drawn = [np.random.default_rng([seed, 3, sample]).uniform(low, high) for sample in samples]
        return torch.tensor(np.array(drawn).T, dtype=torch.float32).to(self._device)

    def _moments(self, maps: Tensor) -> Moments:
        """Return the moments of maps over the whole batch, which all workers share."""
        return measure_batch(maps, self._average)

    def _losses(
        self, fused: Tensor, infrared: Tensor, visible: Tensor, adversarial: Tensor, lesson: Tensor
    ) -> AdversarialLosses:
        content = content_loss(fused, infrared, visible, self.parameters.gradient_weight)
        total = adversarial + self.parameters.content_weight * content
        return AdversarialLosses(total, adversarial, content, lesson)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.parameters.precision == "bf16":
            return torch.autocast(self._device.type, torch.bfloat16)
        return contextlib.nullcontext()


class _Comparison(nn.Module):
    """The discriminator of visible and fused images as one module, each a batch of its own."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(
        self, visible: Tensor, fused: Tensor, moments: MeasureMoments
    ) -> tuple[Tensor, Tensor]:
        """Return the scores of both."""
        return self.discriminator(visible, moments), self.discriminator(fused, moments)


def measure_batch(
    maps: Tensor, average: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> Moments:
    """Return the moments of maps `(B, C, H, W)` with gradient, in float32.

    Args:
        maps: The maps of a worker.
        average: Returns the mean of a tensor over the workers.
    """
    maps = maps.float()
    mean = average(maps.mean(dim=(0, 2, 3)))
    variance = average((maps - mean.view(-1, 1, 1)).square().mean(dim=(0, 2, 3)))
    return Moments(mean, variance)


def _square(scores: Tensor, labels: Tensor) -> Tensor:
    return (scores.float() - labels).square().mean()
