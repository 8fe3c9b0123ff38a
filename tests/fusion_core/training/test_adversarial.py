from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError
from fusion_core.training.adversarial import AdversarialTrainer, content_loss, measure_batch
from fusion_core.training.parameters import PAPER, AdversarialParameters

SIDE = 44
BATCH = 2


def parameters(**changed: Any) -> AdversarialParameters:
    values = {**PAPER["fusiongan"], "method": "fusiongan", "batch": BATCH, "crop": SIDE}
    return AdversarialParameters(**{**values, **changed})


def pairs(seed: int = 0, side: int = SIDE) -> Tensor:
    """Return pairs `(B, 2, S, S)` of smooth infrared and detailed visible images."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((BATCH, 2, side // 4, side // 4), generator=generator) * 255.0
    large = nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    large[:, 1] += torch.rand((BATCH, side, side), generator=generator) * 80.0 - 40.0
    return large.clamp(0.0, 255.0).round()


def samples(step: int) -> range:
    return range(BATCH * step, BATCH * (step + 1))


def run(trainer: AdversarialTrainer, steps: range, batch: Tensor | None = None) -> list[Any]:
    found = []
    for step in steps:
        found.append(trainer.propagate(pairs(step) if batch is None else batch, samples(step)))
        trainer.update()
    return found


def test_content_loss_is_that_of_the_paper() -> None:
    fused, infrared, visible = (torch.rand(2, 1, 9, 11) * 2 - 1 for _ in range(3))
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    laplacians = [
        scipy.ndimage.convolve(image.double().numpy(), kernel)[..., 1:-1, 1:-1]
        for image in (fused, visible)
    ]
    intensity = (fused - infrared).double().square().mean().item()
    expected = intensity + 5.0 * np.square(laplacians[0] - laplacians[1]).mean()
    assert content_loss(fused, infrared, visible, 5.0).item() == pytest.approx(expected, rel=1e-5)


def test_the_generator_learns() -> None:
    losses = run(AdversarialTrainer(parameters(learning_rate=1e-3)), range(10), pairs())
    assert losses[-1].content < 0.5 * losses[0].content
    for found in losses:
        total = found.adversarial + 100.0 * found.content
        assert found.total.item() == pytest.approx(total.item(), rel=1e-6)


def test_the_discriminator_learns_to_tell_visible_from_fused_images() -> None:
    side = 76  # of whose fused crops the last layer has several positions to normalise
    changed = parameters(learning_rate=1e-3, crop=side, discriminator_steps=6)
    trainer, batch = AdversarialTrainer(changed), pairs(side=side)
    losses = [trainer.propagate(batch, samples(step)).discriminator for step in range(10)]
    assert losses[-1] < 0.1 < losses[0]
    scaled, _, visible = trainer._prepare(batch)
    with torch.no_grad():
        fused = trainer._network(scaled, measure_batch)
        real, false = (trainer._critic(images, measure_batch) for images in (visible, fused))
    assert real.min() > 0.5 > false.max()


def test_a_step_of_the_generator_leaves_the_discriminator_alone() -> None:
    trainer = AdversarialTrainer(parameters())
    before = trainer._discriminator.weights()
    run(trainer, range(1))
    after_lessons = trainer._discriminator.weights()
    assert not torch.equal(before["c1.weight"], after_lessons["c1.weight"])
    trainer._generator.update()
    assert torch.equal(trainer._discriminator.weights()["c1.weight"], after_lessons["c1.weight"])


def test_soft_labels_are_in_the_papers_ranges_and_follow_from_the_samples_alone() -> None:
    trainer = AdversarialTrainer(parameters())
    labels = trainer._labels(range(200))
    assert labels.shape == (5, 200)
    for row, (low, high) in zip(labels, [(0.7, 1.2), (0.0, 0.3)] * 2 + [(0.7, 1.2)], strict=True):
        assert low <= row.min() < low + 0.02
        assert high - 0.02 < row.max() <= high
    assert torch.equal(trainer._labels([150, 7]), labels[:, [150, 7]])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_restored_training_goes_on_bit_by_bit(precision: str) -> None:
    whole = AdversarialTrainer(parameters(precision=precision))
    run(whole, range(4))
    first = AdversarialTrainer(parameters(precision=precision))
    run(first, range(2))
    second = AdversarialTrainer(parameters(precision=precision, seed=9))
    second.restore(first.state(), 2)
    second.parameters = whole.parameters  # whose seed draws the labels
    run(second, range(2, 4))
    assert whole.state().keys() == second.state().keys()
    assert all(torch.equal(second.state()[name], value) for name, value in whole.state().items())


def test_state_of_another_training_is_refused() -> None:
    trainer = AdversarialTrainer(parameters())
    run(trainer, range(1))
    other = AdversarialTrainer(parameters())
    with pytest.raises(InvalidValueError, match="another network"):
        other.restore(trainer._generator.state(), 1)


def test_evaluation_changes_nothing_and_gives_the_losses_of_the_weights() -> None:
    trainer = AdversarialTrainer(parameters())
    before = trainer.state()
    evaluated = trainer.evaluate(pairs())
    assert all(torch.equal(before[name], value) for name, value in trainer.state().items())
    learned = trainer.propagate(pairs(), samples(0))
    assert evaluated.content.item() == pytest.approx(learned.content.item(), rel=1e-5)


def test_parts_of_a_batch_are_normalised_by_the_moments_of_all() -> None:
    maps = torch.rand(4, 3, 5, 6)
    expected = measure_batch(maps)
    halves = [half.mean(dim=(0, 2, 3)) for half in maps.split(2)]
    means = iter([torch.stack(halves).mean(dim=0)])
    parts = [
        (half - expected.mean.view(-1, 1, 1)).square().mean(dim=(0, 2, 3)) for half in maps.split(2)
    ]
    answers = iter([next(means), torch.stack(parts).mean(dim=0)])
    found = measure_batch(maps[:2], lambda own: next(answers))
    assert torch.allclose(found.mean, expected.mean)
    assert torch.allclose(found.variance, expected.variance)
