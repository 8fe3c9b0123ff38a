"""The gray images that the metrics of colour images are computed of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.choices import Channels
from fusion_core.images import luma
from fusion_core.metrics.base import ScoredBatch

Planes: TypeAlias = NDArray[np.uint8]
Triple: TypeAlias = tuple[Planes, Planes, Planes]
"""An infrared, a visible and a fused image of one size, `(H, W)` or `(H, W, 3)` each."""
ScoreBatch: TypeAlias = Callable[[ScoredBatch, Sequence[str]], Tensor]


def score_triples(
    triples: Sequence[Triple],
    metrics: Sequence[str],
    channels: Mapping[str, Channels],
    score: ScoreBatch,
    device: torch.device | str,
) -> Tensor:
    """Compute metrics of images of one size.

    Args:
        triples: The images.
        metrics: Names of metrics.
        channels: What metrics of colour images are computed of; those left out, of the luma.
        score: Computes metrics of a batch: `(M, B)`.
        device: Device to compute on.

    Returns:
        `(M, B)` float64 on the CPU, NaN where a metric is undefined.
    """
    values = torch.empty(len(metrics), len(triples), dtype=torch.float64)
    kinds = [channels.get(name, "luma") for name in metrics]
    for rows, members, kind in _parts(triples, kinds):
        batch = _stack([triples[n] for n in members], kind, device)
        found = score(batch, [metrics[n] for n in rows]).cpu()
        per_image = found.shape[1] // len(members)
        found = found.view(len(rows), len(members), per_image).mean(dim=2)
        values[np.ix_(rows, members)] = found
    return values


def _parts(
    triples: Sequence[Triple], kinds: Sequence[Channels]
) -> Iterator[tuple[list[int], list[int], Channels]]:
    """Yield metrics, images, and what the metrics of these images are computed of."""
    everything = list(range(len(kinds)))
    colour = [n for n, images in enumerate(triples) if any(image.ndim == 3 for image in images)]
    if set(kinds) <= {"luma"}:
        colour = []  # nothing to distinguish
    if gray := [n for n in range(len(triples)) if n not in colour]:
        yield everything, gray, "luma"
    for kind in dict.fromkeys(kinds) if colour else ():
        yield [n for n in everything if kinds[n] == kind], colour, kind


def _stack(triples: Sequence[Triple], kind: Channels, device: torch.device | str) -> ScoredBatch:
    groups = zip(*triples, strict=True)
    stacks = (np.concatenate([_planes(image, kind) for image in group]) for group in groups)
    ir, vis, fused = (torch.from_numpy(stack).unsqueeze(1).to(device) for stack in stacks)
    return ScoredBatch(ir, vis, fused)


def _planes(image: Planes, kind: Channels) -> Planes:
    """Return the gray images of an image that make one value together: `(N, H, W)`."""
    if kind == "luma":
        return luma(image)[np.newaxis]
    channels = np.stack([image] * 3) if image.ndim == 2 else np.moveaxis(image, 2, 0)
    return channels if kind == "per_channel" else np.concatenate(channels, axis=1)[np.newaxis]
