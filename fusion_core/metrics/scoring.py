"""Scores of fused images: every metric of a batch, undefined values told from numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.images.colour import luma
from fusion_core.metrics import METRICS
from fusion_core.metrics.base import Images

_PREPARED_SIZE = 48
"""Pixels a side, enough for every metric to compute something."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One pair's metrics."""

    values: dict[str, float | None]
    """Metric name to value; None where the metric is undefined for this pair."""
    notes: str | None = None
    """Why values are missing; None if none is."""


@torch.inference_mode()
def score_images(
    ir: Sequence[NDArray[np.uint8]],
    vis: Sequence[NDArray[np.uint8]],
    fused: Sequence[NDArray[np.uint8]],
    metrics: Sequence[str],
    device: torch.device | str = "cpu",
) -> list[Scores]:
    """Score pairs of one size; colour images are scored on their luma.

    Args:
        ir: Infrared images `(H, W)` or `(H, W, 3)`.
        vis: Visible images, likewise.
        fused: Fused images, likewise.
        metrics: Names out of `METRICS`.
        device: Where to compute.

    Returns:
        One `Scores` a pair, in order.

    Raises:
        InvalidValueError: The images are not of one size, or not as many of each kind.
    """
    sizes = {image.shape[:2] for image in (*ir, *vis, *fused)}
    if not len(ir) == len(vis) == len(fused) or len(sizes) != 1:
        raise InvalidValueError(
            f"Expected as many infrared, visible and fused images, all of one size, but got "
            f"{len(ir)}, {len(vis)} and {len(fused)} of sizes {sorted(sizes)}"
        )
    images = Images(*(_stack(group, device) for group in (ir, vis, fused)))
    if not metrics:
        return [Scores({}) for _ in fused]
    values = torch.stack([METRICS[name].measure(images) for name in metrics])
    return [_to_scores(dict(zip(metrics, pair, strict=True))) for pair in values.T.tolist()]


def prepare_metrics(metrics: Sequence[str], device: torch.device | str = "cpu") -> None:
    """Compile what the metrics need, or load it from disk, so that no pair waits for it.

    Args:
        metrics: Names out of `METRICS`.
        device: Where they will be computed.
    """
    images = [np.zeros((_PREPARED_SIZE, _PREPARED_SIZE), dtype=np.uint8)]
    score_images(images, images, images, metrics, device)


def _stack(images: Sequence[NDArray[np.uint8]], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.stack([luma(image) for image in images])).unsqueeze(1).to(device)


def _to_scores(values: dict[str, float]) -> Scores:
    missing = [name for name, value in values.items() if not math.isfinite(value)]
    reasons = [f"{name} is undefined: {METRICS[name].undefined}" for name in missing]
    defined = {name: None if name in missing else value for name, value in values.items()}
    return Scores(defined, "; ".join(reasons) or None)
