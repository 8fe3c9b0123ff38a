"""Checkpoints of a training: one object, published whole, with all that later steps depend on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from cluster.storage import Store
from fusion_core.errors import StorageError

CHECKPOINT_KEY = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training has come to."""

    step: int
    state: dict[str, Tensor]
    curves: NDArray[np.float64]
    """`(step, 3)`: total, pixel and SSIM loss of each step."""
    seconds: float
    """Time spent on the steps, all sessions together."""
    busy_seconds: float
    """Of it, in forward and backward passes."""
    unreadable: tuple[str, ...] = ()
    """Images that could not be read, for which others were taken."""


def write_checkpoint(out: Store, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Publish a checkpoint in the place of the one before.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {
        "fingerprint": fingerprint,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "busy_seconds": checkpoint.busy_seconds,
        "unreadable": checkpoint.unreadable,
    }
    tensors = {**checkpoint.state, "curves": torch.from_numpy(checkpoint.curves)}
    out.write(CHECKPOINT_KEY, save_safetensors(tensors, {"irfuse": json.dumps(facts)}))


def find_checkpoint(out: Store, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint of a training, None where there is none.

    Raises:
        StorageError: It cannot be read, is damaged, or belongs to a training with other settings.
    """
    if not out.exists(CHECKPOINT_KEY):
        return None
    data = out.read(CHECKPOINT_KEY)
    where = out.uri(CHECKPOINT_KEY)
    try:
        tensors = load_safetensors(data)
        facts = json.loads(_metadata(data)["irfuse"])
        curves = tensors.pop("curves").numpy()
        checkpoint = Checkpoint(
            step=int(facts["step"]),
            state=tensors,
            curves=curves,
            seconds=float(facts["seconds"]),
            busy_seconds=float(facts["busy_seconds"]),
            unreadable=tuple(facts["unreadable"]),
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise StorageError(
            f"{where} is damaged or no checkpoint of irfuse ({error}); delete it to begin again"
        ) from None
    if facts.get("fingerprint") != fingerprint or curves.shape != (checkpoint.step, 3):
        raise StorageError(
            f"{where} was written by a training with other settings; use another --out, or delete "
            "it to begin again"
        )
    return checkpoint


def _metadata(data: bytes) -> dict[str, str]:
    """Return a safetensors file's own metadata, which lies in its head as JSON."""
    length = int.from_bytes(data[:8], "little")
    return cast(dict[str, str], json.loads(data[8 : 8 + length])["__metadata__"])
