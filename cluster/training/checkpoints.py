"""Checkpoints of a training: one object with the complete state, published atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
    """The state of a training after a step."""

    step: int
    state: dict[str, Tensor]
    curves: NDArray[np.float64]
    """`(step, L)`: the losses of each step, the total first."""
    seconds: float
    """Total time of the steps, over all sessions."""
    busy_seconds: float
    """Part of that time in forward and backward passes."""
    unreadable: tuple[str, ...] = ()
    """Images that could not be read and were replaced by others."""
    validation: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """`(checkpoint, 1 + L)`: step, and the losses of the images that are held out."""


def write_checkpoint(out: Store, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Publish a checkpoint, and replace the previous one.

    Raises:
        StorageError: The checkpoint cannot be written.
    """
    metadata = {
        "fingerprint": fingerprint,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "busy_seconds": checkpoint.busy_seconds,
        "unreadable": checkpoint.unreadable,
    }
    tensors = {
        **checkpoint.state,
        "curves": torch.from_numpy(checkpoint.curves),
        "validation": torch.from_numpy(checkpoint.validation),
    }
    out.write(CHECKPOINT_KEY, save_safetensors(tensors, {"irfuse": json.dumps(metadata)}))


def find_checkpoint(out: Store, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint of a training, or return None if there is none.

    Raises:
        StorageError: The checkpoint cannot be read, is damaged, or belongs to a training with
            other settings.
    """
    if not out.exists(CHECKPOINT_KEY):
        return None
    data = out.read(CHECKPOINT_KEY)
    where = out.uri(CHECKPOINT_KEY)
    try:
        tensors = load_safetensors(data)
        metadata = json.loads(_metadata(data)["irfuse"])
        curves, validation = (tensors.pop(name).numpy() for name in ("curves", "validation"))
        checkpoint = Checkpoint(
            step=int(metadata["step"]),
            state=tensors,
            curves=curves,
            seconds=float(metadata["seconds"]),
            busy_seconds=float(metadata["busy_seconds"]),
            unreadable=tuple(metadata["unreadable"]),
            validation=validation,
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise StorageError(
            f"{where} is damaged or not a checkpoint of irfuse ({error}); delete it to start again"
        ) from None
    if metadata.get("fingerprint") != fingerprint or len(curves) != checkpoint.step:
        raise StorageError(
            f"{where} was written by a training with other settings; use another --out, or delete "
            "it to start again"
        )
    return checkpoint


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file, which is JSON in its header."""
    length = int.from_bytes(data[:8], "little")
    return cast(dict[str, str], json.loads(data[8 : 8 + length])["__metadata__"])
