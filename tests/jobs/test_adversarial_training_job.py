"""Whole trainings of FusionGAN on a real Ray cluster, small enough for seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from support.environment import forbid_ray

import fusion_core
from cluster.storage.store import Store
from cluster.training.checkpoints import CHECKPOINT_KEY
from fusion_core.errors import InvalidValueError, ManifestError
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs.options import TrainOptions
from jobs.progress import SilentProgress
from jobs.train import train

STEPS = 20
WEIGHTS = "fusiongan.safetensors"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    store = Store(str(folder))
    for number in range(3):
        ir, vis = synthetic_pair(50, 60, seed=number, colour=number == 0)
        store.write(f"ir/{number}.png", encode_png(ir))
        store.write(f"vi/{number}.png", encode_png(vis))
    return folder


def options(pairs: Path | None, out: Path, **changed: Any) -> TrainOptions:
    values = {
        "method": "fusiongan", "iterations": STEPS, "crop": 44, "batch": 2, "checkpoint_every": 5,
        "learning_rate": 1e-3, "device": "cpu", **changed,
    }  # fmt: skip
    return TrainOptions(pairs=None if pairs is None else str(pairs), out=str(out), **values)


def curve(out: Path, name: str) -> NDArray[np.float64]:
    return np.array(pq.read_table(out / "curves.parquet")[name])


@pytest.fixture(scope="module")
def trained(pairs: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training."""
    out = tmp_path_factory.mktemp("trained")
    result = train(options(pairs, out, address=ray_address, validation=1))
    assert (result.steps, result.computed) == (STEPS, STEPS)
    return out


def test_training_leaves_weights_that_fuse(trained: Path) -> None:
    ir, vis = synthetic_pair(30, 40, seed=1, colour=False)
    fused = fusion_core.fuse(ir, vis, method="fusiongan", weights=trained / WEIGHTS)
    untrained = fusion_core.fuse(ir, vis, method="fusiongan", weights="random:0")
    assert fused.shape == (30, 40)
    assert not np.array_equal(fused, untrained)


def test_the_losses_of_both_networks_are_in_curves_and_card(trained: Path) -> None:
    total = curve(trained, "loss")
    assert total == pytest.approx(
        curve(trained, "adversarial_loss") + 100.0 * curve(trained, "content_loss"), rel=1e-5
    )
    assert total[-5:].mean() < 0.7 * total[:5].mean()
    discriminator = curve(trained, "discriminator_loss")
    assert discriminator[-5:].mean() < 0.7 * discriminator[:5].mean()
    card = json.loads((trained / "fusiongan.json").read_text())
    assert card["losses"]["discriminator"] == pytest.approx(discriminator.mean())
    assert card["parameters"]["content_weight"] == 100.0
    assert (card["data"]["files"], card["data"]["validation"]) == (["0", "1", "2"], 1)
    table = pq.read_table(trained / "validation.parquet")
    assert table["step"].to_pylist() == [5, 10, 15, 20]
    assert card["validation_losses"]["content"] == table["content_loss"][-1].as_py()


class Stop(Exception):
    """What ends a training from outside."""


class StoppingProgress(SilentProgress):
    """Ends a training after its first checkpoint."""

    def steps(self, done: int, total: int, text: str) -> None:
        if done >= 10:
            raise Stop


def test_a_training_that_is_ended_goes_on_to_the_same_weights(
    trained: Path, pairs: Path, ray_address: str, tmp_path: Path
) -> None:
    again = options(pairs, tmp_path, address=ray_address, validation=1)
    with pytest.raises(Stop):
        train(again, StoppingProgress())
    assert (tmp_path / CHECKPOINT_KEY).exists()
    assert 0 < train(again).computed < STEPS
    assert (tmp_path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert np.array_equal(curve(tmp_path, "loss"), curve(trained, "loss"))


@pytest.mark.slow
def test_two_workers_train_like_one(pairs: Path, ray_address: str, tmp_path: Path) -> None:
    for workers in (1, 2):
        changed = {"workers": workers, "batch": 4, "crop": 76, "iterations": 3}
        out = tmp_path / str(workers)
        train(options(pairs, out, address=ray_address, learning_rate=1e-4, **changed))
    one, two = tmp_path / "1", tmp_path / "2"
    for name in ("loss", "adversarial_loss", "content_loss", "discriminator_loss"):
        assert curve(two, name)[0] == pytest.approx(curve(one, name)[0], rel=1e-3)
        # Adam's first steps are of full length even where a gradient is hardly more than rounding.
        assert curve(two, name) == pytest.approx(curve(one, name), rel=0.05)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": None}, "fusiongan learns from pairs: expected --pairs"),
        ({"images": "folder"}, "fusiongan learns from pairs: expected --pairs"),
        ({"single_image": "x.png"}, "fusiongan learns from pairs: expected --pairs"),
        ({"ssim_weight": 1.0}, "--ssim-weight is not a parameter of the training of fusiongan"),
        ({"fit": "resize"}, "--fit is not for fusiongan"),
        ({"validation": 3}, "--validation 3 leaves nothing to train on: pairs: 3"),
        ({"method": "densefuse"}, "densefuse learns from images"),
        (
            {"method": "densefuse", "content_weight": 1.0},
            "--content-weight is not a parameter of the training of densefuse",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit_together_are_refused(
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    message: str,
) -> None:
    forbid_ray(monkeypatch, "jobs.train")
    values = options(pairs, tmp_path / "out").model_dump() | changed
    with pytest.raises(InvalidValueError, match=message):
        train(TrainOptions(**values))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty"):
        train(options(tmp_path / "empty", tmp_path / "out"))


def test_the_papers_settings_are_the_defaults(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr("jobs.train._compute", stop)
    with pytest.raises(Stop):
        train(TrainOptions(method="fusiongan", pairs=str(pairs), out=str(tmp_path)))
    record = json.loads((tmp_path / "train.json").read_text())
    assert record["steps"] == 20_000
    assert record["parameters"] == {
        "method": "fusiongan", "learning_rate": 1e-4, "batch": 32, "crop": 132, "seed": 0,
        "precision": "fp32", "content_weight": 100.0, "gradient_weight": 5.0,
        "discriminator_steps": 2,
    }  # fmt: skip
