"""Outputs of a finished training: weights, their card, and the learning curves."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors

from cluster.storage import Store
from cluster.training.checkpoints import Checkpoint
from cluster.training.record import TrainingRecord
from cluster.training.samples import read_images

CURVES_KEY = "curves.parquet"
VALIDATION_KEY = "validation.parquet"
PICTURE_KEY = "curves.png"

_LAST_STEPS = 100
_FEW_FILES = 32
"""Largest number of files that the card lists individually."""
_SMOOTHED = 50
"""The smoothed curves are moving averages over this fraction of the steps."""


def publish_training(out: Store, record: TrainingRecord, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write weights, their card, and the learning curves."""
    method = record.parameters.method
    state = checkpoint.state
    prefix = "network."
    tensors = {
        name.removeprefix(prefix): state[name] for name in sorted(state) if name.startswith(prefix)
    }
    names = [each.name for each in read_images(out, record.parameters.sources)]
    card = _card(record, checkpoint, names)
    about = {name: card[name] for name in ("method", "parameters", "steps", "data")}
    weights = save_safetensors(tensors, {"irfuse": json.dumps(about, sort_keys=True)})
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    steps = np.arange(1, len(checkpoint.curves) + 1)
    out.write(CURVES_KEY, _curves_table(record, steps, checkpoint.curves))
    if len(checkpoint.validation):
        held_out = checkpoint.validation
        out.write(VALIDATION_KEY, _curves_table(record, held_out[:, 0], held_out[:, 1:]))
    out.write(PICTURE_KEY, _curves_picture(record, checkpoint))
    out.write(f"{method}.safetensors", weights)
    out.write(f"{method}.json", json.dumps(card, indent=2).encode())
    return card


def _card(record: TrainingRecord, checkpoint: Checkpoint, files: list[str]) -> dict[str, Any]:
    names = record.parameters.losses
    last = checkpoint.curves[-_LAST_STEPS:].mean(axis=0)
    validation = {}
    if len(checkpoint.validation):
        losses = map(float, checkpoint.validation[-1, 1:])
        validation = {"validation_losses": dict(zip(names, losses, strict=True))}
    seconds = max(checkpoint.seconds, 1e-9)
    return {
        "method": record.parameters.method,
        "parameters": record.parameters.model_dump(),
        "steps": record.steps,
        "data": {
            "images": record.images,
            "count": record.image_count,
            "digest": record.images_digest,
            "files": files if len(files) <= _FEW_FILES else [],
            "single_image": record.single_image,
            "unreadable": list(checkpoint.unreadable),
            "validation": record.validation,
        },
        "losses": dict(zip(names, map(float, last), strict=True)),
        **validation,
        "seconds": round(seconds, 1),
        "steps_per_second": round(checkpoint.step / seconds, 3),
        "share_outside_passes": round(1.0 - checkpoint.busy_seconds / seconds, 4),
        "irfuse_version": record.irfuse_version,
        "torch_version": record.torch_version,
        "created": record.created,
    }


def _curves_table(
    record: TrainingRecord, steps: NDArray[Any], curves: NDArray[np.float64]
) -> bytes:
    images = record.image_count - record.validation
    table = pa.table(
        {
            "step": pa.array(steps.astype(np.int64), pa.int64()),
            "epoch": pa.array(steps * record.parameters.batch / images, pa.float64()),
            **{
                "loss" if name == "total" else f"{name}_loss": pa.array(curve, pa.float64())
                for name, curve in zip(record.parameters.losses, curves.T, strict=True)
            },
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _curves_picture(record: TrainingRecord, checkpoint: Checkpoint) -> bytes:
    from matplotlib.figure import Figure

    curves, validation = checkpoint.curves, checkpoint.validation
    titles = record.parameters.losses.values()
    figure = Figure(figsize=(4 * len(titles), 3.6), layout="constrained")
    steps = np.arange(1, len(curves) + 1)
    width = max(1, len(curves) // _SMOOTHED)
    for place, title in enumerate(titles):
        axes = figure.add_subplot(1, len(titles), place + 1)
        curve = curves[:, place]
        axes.plot(steps, curve, linewidth=0.5, alpha=0.4)
        smooth = np.convolve(curve, np.full(width, 1.0 / width), mode="valid")
        axes.plot(steps[width - 1 :], smooth, linewidth=1.5, label="training")
        if len(validation):
            axes.plot(validation[:, 0], validation[:, place + 1], "o-", ms=3, label="validation")
            axes.legend()
        if (curve > 0.0).all():
            axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(f"{record.parameters.method}, {record.steps} steps")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100, metadata={"Software": None})
    return sink.getvalue()
