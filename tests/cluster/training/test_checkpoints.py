from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.storage.store import Store
from cluster.training.checkpoints import (
    CHECKPOINT_KEY,
    Checkpoint,
    find_checkpoint,
    write_checkpoint,
)
from fusion_core.errors import StorageError


@pytest.fixture
def out(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


CHECKPOINT = Checkpoint(
    step=3,
    state={"network.c1.weight": torch.arange(6.0).view(2, 3), "exp_avg.c1.weight": torch.ones(1)},
    curves=np.arange(9, dtype=np.float64).reshape(3, 3) / 7,
    seconds=12.5,
    busy_seconds=11.25,
    unreadable=("a/ü.png",),
)


def test_a_checkpoint_is_read_as_it_was_written(out: Store) -> None:
    write_checkpoint(out, CHECKPOINT, "mine")
    found = find_checkpoint(out, "mine")
    assert found is not None
    assert found.state.keys() == CHECKPOINT.state.keys()
    assert all(torch.equal(found.state[name], CHECKPOINT.state[name]) for name in found.state)
    assert np.array_equal(found.curves, CHECKPOINT.curves)
    assert (found.step, found.seconds, found.busy_seconds) == (3, 12.5, 11.25)
    assert found.unreadable == ("a/ü.png",)


def test_there_is_no_checkpoint_before_the_first_one(out: Store) -> None:
    assert find_checkpoint(out, "mine") is None


def test_a_checkpoint_of_another_training_is_refused(out: Store) -> None:
    write_checkpoint(out, CHECKPOINT, "other")
    with pytest.raises(StorageError, match=r"checkpoint\.safetensors was written by a training"):
        find_checkpoint(out, "mine")


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-9], lambda data: b"x" * 50, lambda data: data[:20]],
    ids=["empty", "cut", "something else", "cut in its head"],
)
def test_a_damaged_checkpoint_is_told(out: Store, damage: object) -> None:
    write_checkpoint(out, CHECKPOINT, "mine")
    out.write(CHECKPOINT_KEY, damage(out.read(CHECKPOINT_KEY)))  # type: ignore[operator]
    with pytest.raises(StorageError, match="damaged or not a checkpoint of irfuse"):
        find_checkpoint(out, "mine")


def test_a_file_of_weights_alone_is_no_checkpoint(out: Store) -> None:
    from safetensors.torch import save

    out.write(CHECKPOINT_KEY, save({"c1.weight": torch.ones(1)}))
    with pytest.raises(StorageError, match="damaged or not a checkpoint of irfuse"):
        find_checkpoint(out, "mine")
