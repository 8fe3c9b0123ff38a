"""Whole trainings on a real Ray cluster, small enough for seconds."""

import hashlib
import io
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file
from support.cli import call_cli, start_cli
from support.environment import forbid_ray, without_home
from support.processes import wait_until
from support.ray_processes import job_workers
from support.s3 import S3Server

import fusion_core
from cluster.storage import read_gray
from cluster.storage.store import Store
from cluster.training.checkpoints import CHECKPOINT_KEY
from cluster.training.samples import split_images
from fusion_core.errors import (
    InvalidValueError,
    IrfuseError,
    NotFoundError,
    RunConflictError,
    RunFailedError,
    StorageError,
)
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.training import ReconstructionParameters, ReconstructionTrainer, crop_image
from jobs.options import TrainOptions
from jobs.progress import SilentProgress
from jobs.train import train

STEPS = 24
IMAGES = 5


def write_images(folder: Path) -> None:
    store = Store(str(folder))
    for number in range(IMAGES):
        _, visible = synthetic_pair(40, 52, seed=number, colour=number % 2 == 0)
        store.write(f"scene{number % 2}/{number}.png", encode_png(visible))
    store.write("notes.txt", b"not an image")
    store.write("labels/0.png", b"a label, not learned")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def options(images: Path | str | None, out: Path | str, **changed: Any) -> TrainOptions:
    values = {
        "method": "res2netfuse", "iterations": STEPS, "crop": 24, "batch": 4,
        "checkpoint_every": 10, "learning_rate": 1e-3, "device": "cpu", **changed,
    }  # fmt: skip
    return TrainOptions(images=None if images is None else str(images), out=str(out), **values)


def losses(out: Path) -> NDArray[np.float64]:
    table = pq.read_table(out / "curves.parquet")
    return np.column_stack([table[name] for name in ("loss", "pixel_loss", "ssim_loss")])


@pytest.fixture(scope="module")
def trained(images: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training."""
    out = tmp_path_factory.mktemp("trained")
    result = train(options(images, out, address=ray_address))
    assert (result.steps, result.computed) == (STEPS, STEPS)
    return out


def test_training_leaves_weights_that_fuse(trained: Path) -> None:
    ir, vis = synthetic_pair(30, 40, seed=1, colour=False)
    weights = trained / "res2netfuse.safetensors"
    fused = fusion_core.fuse(ir, vis, method="res2netfuse", weights=weights)
    untrained = fusion_core.fuse(ir, vis, method="res2netfuse", weights="random:0")
    assert fused.shape == (30, 40)
    assert not np.array_equal(fused, untrained)


def test_the_card_tells_how_the_weights_were_made(trained: Path) -> None:
    card = json.loads((trained / "res2netfuse.json").read_text())
    weights = (trained / "res2netfuse.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    assert card["parameters"]["learning_rate"] == 1e-3
    assert (card["steps"], card["data"]["count"]) == (STEPS, IMAGES)
    assert card["losses"]["total"] == pytest.approx(losses(trained)[:, 0].mean())
    assert 0 < card["share_outside_passes"] < 1
    assert card["steps_per_second"] > 0


def test_losses_of_images_that_are_held_out_are_those_of_the_weights(
    images: Path, ray_address: str, tmp_path: Path
) -> None:
    result = train(options(images, tmp_path, address=ray_address, validation=2))
    table = pq.read_table(tmp_path / "validation.parquet")
    assert table["step"].to_pylist() == [10, 20, STEPS]
    assert table["epoch"][-1].as_py() == pytest.approx(STEPS * 4 / (IMAGES - 2))
    keys = pq.read_table(tmp_path / "images.parquet")["image"].to_pylist()
    _, held_out = split_images(keys, 2, seed=0)
    samples = np.stack(
        [crop_image(read_gray(Store(str(images)), key, 10_000), 24) for key in held_out]
    )
    weights = load_file(tmp_path / "res2netfuse.safetensors")
    trainer = ReconstructionTrainer(ReconstructionParameters(**result.card["parameters"]))
    trainer._learner._network.load_state_dict(
        {name: torch.tensor(w) for name, w in weights.items()}
    )
    expected = trainer.evaluate(torch.from_numpy(samples)[:, None]).total.item()
    assert table["loss"][-1].as_py() == pytest.approx(expected, rel=1e-5)
    assert result.card["validation_losses"]["total"] == table["loss"][-1].as_py()
    with pytest.raises(InvalidValueError, match="--validation 5 leaves nothing to train on"):
        train(options(images, tmp_path / "other", validation=5))


def test_curves_have_a_row_a_step_and_fall(trained: Path) -> None:
    table = pq.read_table(trained / "curves.parquet")
    assert table["step"].to_pylist() == list(range(1, STEPS + 1))
    assert table["epoch"][-1].as_py() == pytest.approx(STEPS * 4 / IMAGES)
    curve = losses(trained)[:, 0]
    assert curve[-5:].mean() < 0.7 * curve[:5].mean()
    picture = Image.open(io.BytesIO((trained / "curves.png").read_bytes()))
    assert picture.size == (1200, 360)
    assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 10


class Stop(Exception):
    """What ends a training from outside."""


class StoppingProgress(SilentProgress):
    """Ends a training once it has begun."""

    def steps(self, done: int, total: int, text: str) -> None:
        self.node = supervisor_node()
        if done:
            raise Stop


def supervisor_node() -> str | None:
    """Return the node of the supervisor of this process's trainings."""
    from ray._private import state

    nodes = [
        actor["Address"]["NodeID"]
        for actor in state.actors().values()
        if "TrainingSupervisor" in actor["ActorClassName"] and actor["State"] == "ALIVE"
    ]
    return nodes[-1] if nodes else None


def test_a_training_that_is_ended_in_a_callers_ray_leaves_no_workers(
    images: Path, ray_address: str, tmp_path: Path
) -> None:
    import ray

    ray.init(address=ray_address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        progress = StoppingProgress()
        with pytest.raises(Stop):
            train(options(images, tmp_path, iterations=1_000_000), progress)
        assert progress.node == ray.get_runtime_context().get_node_id()
        wait_until(
            lambda: not job_workers(ray_address, os.getpid(), "Train"),
            timeout=60,
            what="the end of the workers",
        )
    finally:
        ray.shutdown()


def test_a_user_without_a_home_gets_the_remedy(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_home(monkeypatch)
    with pytest.raises(IrfuseError, match="set HOME to a folder"):
        train(options(images, tmp_path))


def test_a_finished_training_needs_no_ray(
    trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch, "jobs.train")
    before = (trained / "res2netfuse.safetensors").read_bytes()
    assert train(options(images, trained)).computed == 0
    assert (trained / "res2netfuse.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_curve(
    trained: Path, images: Path, ray_address: str, tmp_path: Path
) -> None:
    command = [
        "train", "res2netfuse", "--images", images, "--out", tmp_path, "--iterations", STEPS,
        "--crop", 24, "--batch", 4, "--checkpoint-every", 2, "--learning-rate", 1e-3,
        "--device", "cpu", "--address", ray_address,
    ]  # fmt: skip
    with start_cli(*map(str, command)) as driver:
        wait_until(
            lambda: (tmp_path / CHECKPOINT_KEY).exists() or driver.poll() is not None,
            timeout=120,
            what="the first checkpoint",
        )
        assert driver.poll() is None, driver.stderr
        driver.send_signal(signal.SIGKILL)
    result = call_cli(*command)
    assert result.returncode == 0, result.stderr
    assert f"Training {STEPS} steps from step " in result.stderr
    assert "from the start" not in result.stderr
    assert np.array_equal(losses(tmp_path), losses(trained))
    name = "res2netfuse.safetensors"
    assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.slow
def test_two_workers_train_like_one(
    trained: Path, images: Path, ray_address: str, tmp_path: Path
) -> None:
    train(options(images, tmp_path, address=ray_address, workers=2))
    assert losses(tmp_path) == pytest.approx(losses(trained), rel=2e-3)
    found, expected = (
        load_file(folder / "res2netfuse.safetensors") for folder in (tmp_path, trained)
    )
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=2e-3)


@pytest.mark.slow
def test_a_single_image_of_an_s3_store_is_learned(s3_moto: S3Server, ray_address: str) -> None:
    storage = s3_moto.storage_options
    bucket = f"s3://{s3_moto.new_bucket()}"
    Store(bucket, storage).write("images/0.png", encode_png(synthetic_pair(40, 52, seed=0)[0]))
    result = train(
        options(
            None, f"{bucket}/out", single_image=f"{bucket}/images/0.png", batch=None,
            method="densefuse", pixel_norm="mse", address=ray_address, storage_options=storage,
        )
    )  # fmt: skip
    assert result.weights == f"{bucket}/out/densefuse.safetensors"
    assert result.card["parameters"]["batch"] == 1
    assert result.card["data"]["single_image"] is True
    out = Store(f"{bucket}/out", storage)
    assert {entry.key for entry in out.entries()} == {
        "train.json", "images.parquet", "checkpoint.safetensors", "curves.parquet", "curves.png",
        "densefuse.safetensors", "densefuse.json",
    }  # fmt: skip
    curve = np.array(pq.read_table(io.BytesIO(out.read("curves.parquet")))["loss"])
    assert curve[-5:].mean() < 0.7 * curve[:5].mean()
    for name in ("train.json", "densefuse.json"):
        assert s3_moto.secret_key.encode() not in out.read(name)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_ends_the_training_with_the_step(
    images: Path, ray_address: str, tmp_path: Path
) -> None:
    with pytest.raises(RunFailedError, match=r"not a number at step \d+: .*--learning-rate than 1"):
        train(options(images, tmp_path, address=ray_address, learning_rate=1.0, iterations=200))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 2e-3}, "learning_rate: existing 0.001, requested 0.002"),
        ({"iterations": 25}, "steps: existing 24, requested 25"),
        ({"method": "densefuse"}, "method: existing 'res2netfuse', requested 'densefuse'"),
        ({"seed": 1}, "seed: existing 0, requested 1"),
    ],
    ids=str,
)
def test_another_configuration_on_the_same_out_is_refused(
    trained: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    message: str,
) -> None:
    forbid_ray(monkeypatch, "jobs.train")
    with pytest.raises(RunConflictError, match="contains a training with other settings") as e:
        train(options(images, trained, **changed))
    assert message in str(e.value)


def test_other_images_on_the_same_out_are_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch, "jobs.train")
    write_images(tmp_path)
    Store(str(tmp_path)).delete("scene0/0.png")
    with pytest.raises(RunConflictError, match="image_count: existing 5, requested 4"):
        train(options(tmp_path, trained))


def test_a_checkpoint_of_another_training_is_refused(
    trained: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch, "jobs.train")
    (tmp_path / CHECKPOINT_KEY).write_bytes((trained / CHECKPOINT_KEY).read_bytes())
    with pytest.raises(StorageError, match="written by a training with other settings"):
        train(options(images, tmp_path, seed=7))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"single_image": "x.png"}, "either --images or --single-image"),
        ({"workers": 3}, "batch of 4 cannot be shared evenly by 3 workers"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_together_are_refused(
    images: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        train(options(images, tmp_path / "out", **changed))
    assert not (tmp_path / "out").exists()


def test_neither_images_nor_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="either --images or --single-image"):
        train(options(None, tmp_path / "out"))


@pytest.mark.parametrize("name", ["missing", "empty", "without"])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    Store(str(tmp_path / "without")).write("notes.txt", b"text")
    with pytest.raises(NotFoundError, match=f"There are no images in .*{name}"):
        train(options(tmp_path / name, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.png"):
        train(options(None, tmp_path / "out", single_image=str(tmp_path / "absent.png")))


def test_the_papers_settings_are_the_defaults(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("planned")

    monkeypatch.setattr("jobs.train._compute", stop)
    with pytest.raises(RuntimeError, match="planned"):
        train(TrainOptions(method="densefuse", images=str(images), out=str(tmp_path)))
    record = json.loads((tmp_path / "train.json").read_text())
    assert record["steps"] == 10  # 4 epochs of 5 images in batches of 2
    assert record["parameters"] == {
        "method": "densefuse", "convolutions": "shared", "pixel_norm": "euclidean",
        "pixel_weight": 1.0, "similarity": "ssim", "ssim_weight": 100.0, "learning_rate": 1e-4,
        "batch": 2, "crop": 256, "seed": 0, "precision": "fp32",
    }  # fmt: skip


def test_the_command_line_names_the_option_that_is_wrong(tmp_path: Path) -> None:
    result = call_cli("train", "densefuse", "--images", tmp_path, "--out", tmp_path, "--crop", "5")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: --crop: ")
