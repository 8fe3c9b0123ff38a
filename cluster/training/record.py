"""The record of a training, and the settings of its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.session import Software
from cluster.storage import SettingsRecord, Store
from fusion_core.choices import Fit
from fusion_core.training import AnyTrainingParameters


class TrainingRecord(SettingsRecord):
    """The content of `train.json`."""

    key: ClassVar[str] = "train.json"
    noun: ClassVar[str] = "training"
    informative: ClassVar[Mapping[str, Any]] = {"images": True}

    parameters: AnyTrainingParameters
    """Parameters of the training steps."""
    steps: int
    """Number of steps."""
    images: str
    """Folder of the images, or the single image, or the collection of the pairs."""
    image_count: int
    """Number of images, or of pairs."""
    images_digest: str
    """SHA-256 of the images' names and sizes in bytes, or of the content of the single image, or of
    the names and locations of the pairs."""
    single_image: bool
    """Whether the training uses only the center of a single image."""
    validation: int = 0
    """Number of images or pairs that are held out for the validation."""
    fit: Fit = "crop"
    """How images are brought to the size of the samples."""
    max_pixels: int
    """Largest accepted image in pixels, width times height."""
    irfuse_version: str
    """Version of irfuse."""
    torch_version: str
    """Version of torch."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Settings of the workers: the record of the training, and those that are not part of it."""

    record: TrainingRecord
    out: Store
    """Output location of the training."""
    images: Store | None
    """Folder of the images; None for pairs, whose locations are complete."""
    checkpoint_every: int
    """Steps between checkpoints."""
    software: Software
    """Software of the driver, which the workers must have, too."""
