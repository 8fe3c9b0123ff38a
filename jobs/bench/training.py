"""How fast training goes, and what share of it is not forward and backward passes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cluster.storage import Store
from fusion_core.errors import InvalidValueError
from fusion_core.images import encode_png
from fusion_core.training import AUTOENCODERS
from jobs.bench.measuring import Report, describe_machine, noisy_pair, to_levels, versions
from jobs.console.progress import Progress
from jobs.options import TrainOptions
from jobs.train import train

_IMAGES = 32
_HEIGHT, _WIDTH = 480, 640


class TrainingTiming(BaseModel):
    """How fast one network was trained."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: str
    """Whose network."""
    batch: int
    """Crops a step."""
    steps_per_second: float
    """Over all steps, reading, losses and checkpoints included; the start of Ray is not."""
    share_outside_passes: float
    """Of that time, spent outside forward and backward passes."""


class TrainingReport(Report):
    """What `irfuse bench train` measured."""

    crop: int
    """Side of the crops."""
    precision: str
    """Of the passes."""
    workers: int
    """That shared each batch."""
    iterations: int
    """Steps."""
    timings: list[TrainingTiming]
    """Each method."""


def bench_training(
    *,
    methods: tuple[str, ...] = AUTOENCODERS,
    iterations: int = 60,
    crop: int = 256,
    precision: Literal["fp32", "bf16"] = "fp32",
    workers: int = 1,
    batch: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    progress: Progress | None = None,
) -> TrainingReport:
    """Train on made-up 640x480 images in a temporary folder, by the same job as `irfuse train`.

    Args:
        methods: Whose networks.
        iterations: Steps; a checkpoint is written after half of them and at the end.
        crop: Side of the crops.
        precision: Of the passes.
        workers: That share each batch.
        batch: Crops a step; the papers' by default.
        device: Where to compute.
        progress: Where to tell how far it is.

    Raises:
        InvalidValueError: An unknown method, or a number below 1.
        IrfuseError: As `jobs.train.train`.
    """
    if iterations < 2:
        raise InvalidValueError(f"Expected at least 2 iterations, but got {iterations}")
    timings = []
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as folder:
        images = Store(str(Path(folder) / "images"))
        for number in range(_IMAGES):
            image = to_levels(noisy_pair(_HEIGHT, _WIDTH, number)[1])
            images.write(f"{number:03d}.png", encode_png(image))
        for method in methods:
            options = TrainOptions(
                method=method,
                images=images.url,
                out=str(Path(folder) / method),
                iterations=iterations,
                crop=crop,
                precision=precision,
                workers=workers,
                batch=batch,
                device=device,
                checkpoint_every=max(1, iterations // 2),
            )
            card = train(options, progress).card
            timings.append(
                TrainingTiming(
                    method=method,
                    batch=card["parameters"]["batch"],
                    steps_per_second=card["steps_per_second"],
                    share_outside_passes=card["share_outside_passes"],
                )
            )
    return TrainingReport(
        machine=describe_machine(device),
        versions=versions("irfuse", "torch", "ray"),
        crop=crop,
        precision=precision,
        workers=workers,
        iterations=iterations,
        timings=timings,
    )
