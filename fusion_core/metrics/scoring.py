"""Scoring of fused images with several metrics, and the reasons for undefined values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.choices import Channels
from fusion_core.errors import InvalidValueError
from fusion_core.images import upload
from fusion_core.metrics.base import ScoredBatch
from fusion_core.metrics.channels import score_fused_of_pair, score_groups
from fusion_core.metrics.libraries.measures import LIBRARY_METRICS
from fusion_core.metrics.registry import METRICS, get_metric

_PREPARED_SIZE = 161
"""Pixels per side, enough for every metric to be defined."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The metrics of one pair."""

    values: dict[str, float | None]
    """Metric name to value; None where the metric is undefined for this pair."""
    notes: str | None = None
    """Reasons for undefined values; None if all values are defined."""


@torch.inference_mode()
def score_batch(batch: ScoredBatch, metrics: Sequence[str]) -> Tensor:
    """Compute several metrics of a batch; what they have in common is computed once.

    Args:
        batch: The images.
        metrics: Names of metrics that `find_metric` finds.

    Returns:
        `(M, B)` float64 on the images' device, NaN where a metric is undefined.
    """
    if not metrics:
        return torch.empty(0, batch.gray.shape[1], dtype=torch.float64, device=batch.gray.device)
    return torch.stack([get_metric(name).score_batch(batch) for name in metrics])


def score_images(
    ir: Sequence[NDArray[np.uint8]],
    vis: Sequence[NDArray[np.uint8]],
    fused: Sequence[NDArray[np.uint8]],
    metrics: Sequence[str],
    device: torch.device | str = "cpu",
    channels: Mapping[str, Channels] | None = None,
    reference: Sequence[NDArray[np.uint8] | None] | None = None,
) -> list[Scores]:
    """Score pairs of one size.

    Args:
        ir: Infrared images `(H, W)` or `(H, W, 3)`.
        vis: Visible images, likewise.
        fused: Fused images, likewise.
        metrics: Names of metrics that `find_metric` finds.
        device: Device to compute on.
        channels: What metrics of colour images are computed of; those left out, of the luma. See
            `presets.select_channels`.
        reference: What the fused images should be, likewise; None where that is unknown.

    Returns:
        One `Scores` per pair, in order.

    Raises:
        InvalidValueError: The images differ in size, or in number between the three kinds.
    """
    ideals = [image for image in reference or () if image is not None]
    sizes = {image.shape[:2] for image in (*ir, *vis, *fused, *ideals)}
    if not len(ir) == len(vis) == len(fused) or len(sizes) != 1:
        raise InvalidValueError(
            f"Expected as many infrared, visible and fused images, all of one size, but got "
            f"{len(ir)}, {len(vis)} and {len(fused)} of sizes {sorted(sizes)}"
        )
    known = [None] * len(ir) if reference is None else reference
    groups = [
        [image for image in images if image is not None]
        for images in zip(ir, vis, fused, known, strict=True)
    ]
    images = iter(upload([image for group in groups for image in group], device))
    return score_on_device(
        [tuple(next(images) for _ in group) for group in groups], metrics, channels
    )


def score_on_device(
    groups: Sequence[tuple[Tensor, ...]],
    metrics: Sequence[str],
    channels: Mapping[str, Channels] | None = None,
) -> list[Scores]:
    """Score pairs of one size that are on the device that computes; see `score_images`.

    Args:
        groups: An infrared, a visible and a fused image of each pair, and what the fused image
            should be if that is known: `(H, W)` or `(H, W, 3)` uint8.
        metrics: Names of metrics that `find_metric` finds.
        channels: As for `score_images`.

    Returns:
        One `Scores` per pair, in order.
    """
    values = score_groups(groups, metrics, channels or {}, score_batch)
    return [_to_scores(dict(zip(metrics, pair, strict=True))) for pair in values.T.tolist()]


def score_fused_images(
    ir: NDArray[np.uint8],
    vis: NDArray[np.uint8],
    fused: Sequence[NDArray[np.uint8]],
    metrics: Sequence[str],
    device: torch.device | str = "cpu",
    channels: Mapping[str, Channels] | None = None,
) -> list[Scores]:
    """Score several fused images of one pair, such as those of the methods of a study.

    What depends on the sources alone is computed once; the scores are those of `score_images`.

    Args:
        ir: Infrared image `(H, W)` or `(H, W, 3)`.
        vis: Visible image, likewise.
        fused: Fused images, likewise.
        metrics: Names of metrics that need no reference image.
        device: Device to compute on.
        channels: As for `score_images`.

    Returns:
        One `Scores` per fused image, in order.

    Raises:
        InvalidValueError: The images differ in size.
    """
    sizes = {image.shape[:2] for image in (ir, vis, *fused)}
    if len(sizes) != 1:
        raise InvalidValueError(f"Expected images of one size, but got sizes {sorted(sizes)}")
    a, b, *images = upload([ir, vis, *fused], device)
    values = score_fused_of_pair(a, b, images, metrics, channels or {}, score_batch)
    return [_to_scores(dict(zip(metrics, image, strict=True))) for image in values.T.tolist()]


def prepare_metrics(metrics: Sequence[str], device: torch.device | str = "cpu") -> None:
    """Compile the kernels of the metrics, or load them from disk, before the first pair.

    Args:
        metrics: Names of metrics; those of the user's own are left out.
        device: Device on which the metrics will be computed.
    """
    metrics = [name for name in metrics if name in METRICS or name in LIBRARY_METRICS]
    images = [np.zeros((_PREPARED_SIZE, _PREPARED_SIZE), dtype=np.uint8)]
    score_images(images, images, images, metrics, device)


def _to_scores(values: dict[str, float]) -> Scores:
    missing = [name for name, value in values.items() if not math.isfinite(value)]
    reasons = [f"{name} is undefined: {get_metric(name).undefined}" for name in missing]
    defined = {name: None if name in missing else value for name, value in values.items()}
    return Scores(defined, "; ".join(reasons) or None)
