"""Trainings whose workers are killed on a real Ray cluster."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from support.cli import RunningCommand, run_cli, start_cli
from support.processes import wait_until
from support.ray_processes import job_workers, kill

from cluster.storage.records import find_record
from cluster.storage.store import Store
from cluster.training.checkpoints import CHECKPOINT_KEY, find_checkpoint
from cluster.training.record import TrainingRecord
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 120
WAIT_S = 240.0
WEIGHTS = "res2netfuse.safetensors"
FILES = {
    "train.json", "images.parquet", CHECKPOINT_KEY, "curves.parquet", "curves.png", WEIGHTS,
    "res2netfuse.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        _, visible = synthetic_pair(40, 52, seed=number)
        Store(str(folder)).write(f"{number}.png", encode_png(visible))
    return folder


def command(images: Path, out: Path, address: str, *more: str) -> list[str]:
    return [
        "train", "res2netfuse", "--images", str(images), "--out", str(out), "--crop", "24",
        "--batch", "4", "--iterations", str(STEPS), "--checkpoint-every", "5",
        "--learning-rate", "1e-3", "--device", "cpu", "--address", address, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(images: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed training."""
    out = tmp_path_factory.mktemp("trained")
    result = run_cli(*command(images, out, ray_address), timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    return out


def losses(out: Path) -> NDArray[np.float64]:
    table = pq.read_table(out / "curves.parquet")
    return np.column_stack([table[name] for name in ("loss", "pixel_loss", "ssim_loss")])


def step(out: Path) -> int:
    """Return how far the checkpoint is."""
    store = Store(str(out))
    record = find_record(store, TrainingRecord)
    checkpoint = find_checkpoint(store, record.fingerprint) if record else None
    return checkpoint.step if checkpoint else 0


def kill_worker(driver: RunningCommand, address: str, out: Path, *, after: int) -> None:
    """Kill the youngest training worker once the checkpoint is past a step, but not the last."""
    worker = wait_until(
        lambda: job_workers(address, driver.pid, "RayTrainWorker"), timeout=WAIT_S, what="a worker"
    )[-1]
    wait_until(
        lambda: driver.poll() is not None or step(out) > after, timeout=WAIT_S, what="a checkpoint"
    )
    kill(worker)
    assert after < step(out) < STEPS, driver.stderr


def assert_same(out: Path, undisturbed: Path) -> None:
    assert np.array_equal(losses(out), losses(undisturbed))
    assert (out / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    assert {entry.key for entry in Store(str(out)).entries()} == FILES


def test_a_training_whose_worker_is_killed_twice_comes_to_the_same_curve(
    trained: Path, images: Path, ray_address: str, tmp_path: Path
) -> None:
    with start_cli(*command(images, tmp_path, ray_address)) as driver:
        kill_worker(driver, ray_address, tmp_path, after=0)
        kill_worker(driver, ray_address, tmp_path, after=step(tmp_path))
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, trained)


def test_a_training_that_loses_one_of_two_workers_comes_to_the_same_curve(
    images: Path, ray_address: str, tmp_path: Path
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    two = ("--workers", "2")
    result = run_cli(*command(images, undisturbed, ray_address, *two), timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    with start_cli(*command(images, out, ray_address, *two)) as driver:
        kill_worker(driver, ray_address, out, after=0)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(out, undisturbed)


def test_a_training_whose_workers_keep_dying_says_so_and_goes_on_when_called_again(
    trained: Path, images: Path, ray_address: str, tmp_path: Path
) -> None:
    with start_cli(*command(images, tmp_path, ray_address)) as driver:
        for _ in range(4):
            kill_worker(driver, ray_address, tmp_path, after=step(tmp_path))
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 1
    assert "Training workers keep failing; run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    result = run_cli(*command(images, tmp_path, ray_address), timeout=WAIT_S)
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, trained)
