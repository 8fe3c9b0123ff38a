from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError
from fusion_core.networks.weights import Weights
from fusion_core.training.autoencoders import load_autoencoder, new_network, reconstruct_image
from fusion_core.training.crops import crop_image
from fusion_core.training.losses import reconstruction_losses, ssim, structure
from fusion_core.training.parameters import AUTOENCODERS, PAPER, ReconstructionParameters
from fusion_core.training.reconstruction import ReconstructionTrainer

methods = pytest.mark.parametrize("method", AUTOENCODERS)


def parameters(method: str = "res2netfuse", **changed: Any) -> ReconstructionParameters:
    values = {**PAPER[method], "method": method, "batch": 2, "crop": 24}  # type: ignore[index]
    return ReconstructionParameters(**{**values, **changed})


def images(count: int, side: int = 24, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand((count, 1, side // 4, side // 4), generator=generator) * 255.0
    return nn.functional.interpolate(smooth, scale_factor=4, mode="bilinear").round()


# Losses


def test_ssim_is_that_of_scikit_image() -> None:
    first, second = images(1, 48), images(1, 48, seed=1)
    expected = structural_similarity(
        first[0, 0].double().numpy(),
        second[0, 0].double().numpy(),
        win_size=11,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=255.0,
        full=True,
    )[1][5:-5, 5:-5].mean()
    assert ssim(first, second).item() == pytest.approx(expected, abs=2e-6)


def test_ssim_of_flat_equal_images_is_one_and_has_a_finite_gradient() -> None:
    flat = torch.full((1, 1, 16, 16), 200.0, requires_grad=True)
    value = ssim(flat, flat.detach())
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=1e-6)
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    target, output = images(1, 12).double(), images(1, 12, seed=1).double()

    def loss(values: Tensor) -> Tensor:
        return reconstruction_losses(values, target, pixel_norm="mse", ssim_weight=50.0).total

    assert torch.autograd.gradcheck(loss, output.requires_grad_())


def test_structure_is_the_term_of_scikit_images_ssim_without_luminance() -> None:
    first, second = images(1, 48), images(1, 48, seed=1)
    shown = structural_similarity(
        *(image[0, 0].double().numpy() for image in (first, second)),
        win_size=11, gaussian_weights=True, use_sample_covariance=False, data_range=255.0,
        K1=1e6,  # whose luminance term is 1
        K2=0.03 / 255.0, full=True,
    )[1][5:-5, 5:-5]  # fmt: skip
    assert structure(first, second).item() == pytest.approx(shown.mean(), abs=2e-6)
    assert structure(first, second + 40.0).item() == pytest.approx(shown.mean(), abs=2e-5)


def test_the_terms_of_the_loss_are_weighted() -> None:
    first, second = images(2, 20), images(2, 20, seed=1)
    losses = reconstruction_losses(
        first, second, pixel_norm="mse", pixel_weight=0.5, similarity="structure", ssim_weight=3.0
    )
    expected = 0.5 * (first - second).square().mean() + 3.0 * (1.0 - structure(first, second))
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("euclidean", (np.sqrt(9 * 256) + np.sqrt(16 * 256)) / 2), ("mse", (9 + 16) / 2)],
)
def test_pixel_losses_are_those_of_the_papers(norm: Any, expected: float) -> None:
    target = images(2, 16)
    output = target + torch.tensor([3.0, -4.0]).view(2, 1, 1, 1)
    losses = reconstruction_losses(output, target, pixel_norm=norm, ssim_weight=10.0)
    assert losses.pixel.item() == pytest.approx(expected, rel=1e-5)
    assert losses.ssim.item() == pytest.approx(1.0 - ssim(output, target).item(), abs=1e-6)
    assert losses.total.item() == pytest.approx(expected + 10.0 * losses.ssim.item(), rel=1e-6)


# Steps


@methods
def test_training_learns(method: str) -> None:
    trainer, batch = ReconstructionTrainer(parameters(method, learning_rate=1e-3)), images(2)
    losses = [trainer.step(batch).total.item() for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


@methods
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_restored_training_goes_on_bit_by_bit(method: str, precision: str) -> None:
    def run(trainer: ReconstructionTrainer, steps: range) -> None:
        for step in steps:
            trainer.step(images(2, seed=step))

    whole = ReconstructionTrainer(parameters(method, precision=precision))
    run(whole, range(6))
    first = ReconstructionTrainer(parameters(method, precision=precision))
    run(first, range(3))
    second = ReconstructionTrainer(parameters(method, precision=precision, seed=99))
    second.restore(first.state(), 3)
    run(second, range(3, 6))
    assert whole.state().keys() == second.state().keys()
    assert all(torch.equal(second.state()[name], value) for name, value in whole.state().items())


def test_state_of_another_network_is_refused() -> None:
    trainer = ReconstructionTrainer(parameters("densefuse"))
    trainer.step(images(2))
    with pytest.raises(InvalidValueError, match="another network"):
        ReconstructionTrainer(parameters("res2netfuse")).restore(trainer.state(), 1)


def test_state_before_the_first_step_is_restored() -> None:
    first, second = ReconstructionTrainer(parameters()), ReconstructionTrainer(parameters(seed=5))
    second.restore(first.state(), 0)
    assert torch.equal(first.step(images(2)).total, second.step(images(2)).total)


@methods
def test_first_weights_follow_from_the_seed_alone(method: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    networks = [new_network(parameters(method, seed=seed)).state_dict() for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    name = "c1.weight"
    assert torch.equal(networks[0][name], networks[1][name])
    assert not torch.equal(networks[0][name], networks[2][name])


@methods
def test_half_precision_learns_about_the_same(method: str) -> None:
    full, half = (
        ReconstructionTrainer(parameters(method, precision=kind)) for kind in ("fp32", "bf16")
    )
    for step in range(5):
        losses = [trainer.step(images(2, seed=step)).total.item() for trainer in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


@methods
def test_trained_weights_load_into_their_method(method: str) -> None:
    from safetensors.torch import save

    trainer = ReconstructionTrainer(parameters(method))
    trainer.step(images(2))
    weights = Weights.from_file(save(trainer.weights()), "trained")
    image = images(1, 20)[0, 0].to(torch.uint8).numpy()
    found = reconstruct_image(load_autoencoder(method, weights), image)
    with torch.no_grad():
        expected = trainer._module(torch.from_numpy(image)[None, None].float())[0, 0]
    rounded = (expected + 0.5).floor().clamp(0, 255)
    assert found.dtype == np.uint8
    assert np.abs(found - rounded.numpy()).max() <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.0}, {"batch": 0}, {"crop": 10}, {"ssim_weight": -1.0},
        {"ssim_weight": float("nan")}, {"seed": -1}, {"pixel_norm": "l1"}, {"method": "vgg"},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReconstructionParameters(**{**parameters().model_dump(), **changed})


# Crops


def test_crop_is_a_part_of_the_image_where_the_generator_says() -> None:
    image = np.arange(40 * 50, dtype=np.int64).reshape(40, 50).astype(np.uint8)
    places = set()
    for seed in range(8):
        crop = crop_image(image, 16, np.random.default_rng(seed))
        windows = np.lib.stride_tricks.sliding_window_view(image, (16, 16))
        places |= {tuple(place) for place in np.argwhere((windows == crop).all(axis=(2, 3)))}
    assert len(places) >= 8


def test_crop_without_a_generator_is_the_middle() -> None:
    image = np.random.default_rng(0).integers(0, 256, (21, 30), dtype=np.uint8)
    assert np.array_equal(crop_image(image, 11), image[5:16, 9:20])


@pytest.mark.parametrize("size", [(8, 30), (30, 8), (5, 5), (16, 15), (1, 100)], ids=str)
def test_smaller_image_is_enlarged(size: tuple[int, int]) -> None:
    image = np.full(size, 77, np.uint8)
    crop = crop_image(image, 16, np.random.default_rng(0))
    assert (crop.shape, crop.dtype) == ((16, 16), np.uint8)
    assert (crop == 77).all()


def test_image_of_the_crops_size_is_taken_whole() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    assert np.array_equal(crop_image(image, 16, np.random.default_rng(1)), image)
