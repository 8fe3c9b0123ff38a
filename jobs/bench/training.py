"""Timing of training, and the share of time outside of forward and backward passes."""

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
from jobs.options import TrainOptions
from jobs.progress import Progress
from jobs.train import train

_IMAGES = 32
_HEIGHT, _WIDTH = 480, 640


class TrainingTiming(BaseModel):
    """Training speed of one network."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: str
    """Method whose autoencoder was trained."""
    batch: int
    """Number of crops per step."""
    steps_per_second: float
    """Steps per second, including reading, losses and checkpoints, without the start of Ray."""
    share_outside_passes: float
    """Share of that time outside of forward and backward passes."""


class TrainingReport(Report):
    """Result of `irfuse bench train`."""

    crop: int
    """Side of the crops in pixels."""
    precision: str
    """Precision of the forward and backward passes."""
    workers: int
    """Number of workers that shared each batch."""
    iterations: int
    """Steps."""
    timings: list[TrainingTiming]
    """Timings of each method."""


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
    """Train on synthetic 640x480 images in a temporary folder, with the job of `irfuse train`.

    Args:
        methods: Methods whose autoencoders are trained.
        iterations: Number of steps; a checkpoint is written after half of them and at the end.
        crop: Side of the crops in pixels.
        precision: Precision of the forward and backward passes.
        workers: Number of workers that share each batch.
        batch: Crops per step; by default those of the method's paper.
        device: Device to compute on.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A method is unknown, or a number is below 1.
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
