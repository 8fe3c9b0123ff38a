"""The record of a training, and what its workers are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.storage import SettingsRecord, Store
from fusion_core.training import TrainingParameters


class TrainingRecord(SettingsRecord):
    """The content of `train.json`."""

    key: ClassVar[str] = "train.json"
    noun: ClassVar[str] = "training"
    informative: ClassVar[Mapping[str, Any]] = {"images": True, "created": True}

    parameters: TrainingParameters
    """How each step changes the network."""
    steps: int
    """Number of steps."""
    images: str
    """Folder of the images, or the single image."""
    image_count: int
    """Number of images."""
    images_digest: str
    """SHA-256 of the images' names and sizes in bytes, or of the content of the single image."""
    single_image: bool
    """Whether only the middle of one image is learned."""
    max_pixels: int
    """Largest accepted image, width times height."""
    irfuse_version: str
    """Version of irfuse."""
    torch_version: str
    """Version of torch."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a worker is told: the record of the training, and the few facts that are not in it."""

    record: TrainingRecord
    out: Store
    """Where the training is kept."""
    images: Store
    """Folder of the images."""
    checkpoint_every: int
    """Steps between checkpoints."""
