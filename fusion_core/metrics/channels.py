"""The gray images that the metrics of colour images are computed of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from fusion_core.choices import Channels
from fusion_core.images import luma_on_device
from fusion_core.metrics.base import ScoredBatch, Sources

Images: TypeAlias = tuple[Tensor, ...]
"""An infrared, a visible and a fused image of one size, and the reference image if there is one:
`(H, W)` or `(H, W, 3)` uint8 each, on the device that computes."""
ScoreBatch: TypeAlias = Callable[[ScoredBatch, Sequence[str]], Tensor]


def score_groups(
    groups: Sequence[Images],
    metrics: Sequence[str],
    channels: Mapping[str, Channels],
    score: ScoreBatch,
) -> Tensor:
    """Compute metrics of images of one size.

    Args:
        groups: The images of each pair.
        metrics: Names of metrics.
        channels: What metrics of colour images are computed of; those left out, of the luma.
        score: Computes metrics of a batch: `(M, B)`.

    Returns:
        `(M, B)` float64 on the CPU, NaN where a metric is undefined.
    """
    values = torch.empty(len(metrics), len(groups), dtype=torch.float64)
    kinds = [channels.get(name, "luma") for name in metrics]
    for rows, members, kind in _parts(groups, kinds):
        batch = _stack([groups[n] for n in members], kind)
        found = score(batch, [metrics[n] for n in rows]).cpu()
        per_image = found.shape[1] // len(members)
        found = found.view(len(rows), len(members), per_image).mean(dim=2)
        values[np.ix_(rows, members)] = found
    return values


def _parts(
    groups: Sequence[Images], kinds: Sequence[Channels]
) -> Iterator[tuple[list[int], list[int], Channels]]:
    """Yield metrics, pairs, and what the metrics of these pairs are computed of.

    Pairs with and without a reference image are in different parts.
    """
    everything = list(range(len(kinds)))
    for size in sorted({len(images) for images in groups}):
        members = [n for n, images in enumerate(groups) if len(images) == size]
        colour = [n for n in members if any(image.ndim == 3 for image in groups[n])]
        if set(kinds) <= {"luma"}:
            colour = []  # nothing to distinguish
        if gray := [n for n in members if n not in colour]:
            yield everything, gray, "luma"
        for kind in dict.fromkeys(kinds) if colour else ():
            yield [n for n in everything if kinds[n] == kind], colour, kind


def score_fused_of_pair(
    ir: Tensor,
    vis: Tensor,
    fused: Sequence[Tensor],
    metrics: Sequence[str],
    channels: Mapping[str, Channels],
    score: ScoreBatch,
) -> Tensor:
    """Compute metrics of several fused images of one pair, whose sources are analysed once.

    Args:
        ir: Infrared image.
        vis: Visible image.
        fused: Fused images.
        metrics: Names of metrics.
        channels: As for `score_groups`.
        score: Computes metrics of a batch: `(M, B)`.

    Returns:
        `(M, B)` float64 on the CPU, NaN where a metric is undefined.
    """
    values = torch.empty(len(metrics), len(fused), dtype=torch.float64)
    kinds = [channels.get(name, "luma") for name in metrics]
    for rows, members, kind in _parts([(ir, vis, image) for image in fused], kinds):
        names = [metrics[n] for n in rows]
        if kind == "rgb":  # the channels are not measured one by one
            for n in members:
                batch = _stack([(ir, vis, fused[n])], kind)
                values[np.ix_(rows, [n])] = score(batch, names).cpu().mean(dim=1, keepdim=True)
            continue
        planes = zip(_planes([ir], kind), _planes([vis], kind), strict=True)
        sources = [Sources(*pair) for pair in planes]
        # A GPU is busier with all images at once, and a CPU needs less memory for one at a time.
        size = 1 if ir.device.type == "cpu" else len(members)
        for first in range(0, len(members), size):
            some = members[first : first + size]
            stack = torch.stack([_planes([fused[n]], kind) for n in some])
            batches = (ScoredBatch(kept, stack[:, c : c + 1]) for c, kept in enumerate(sources))
            found = [score(batch, names).cpu() for batch in batches]
            values[np.ix_(rows, some)] = torch.stack(found).mean(dim=0)
    return values


def _stack(groups: Sequence[Images], kind: Channels) -> ScoredBatch:
    ir, vis, *others = (_planes(images, kind).unsqueeze(1) for images in zip(*groups, strict=True))
    return ScoredBatch(Sources(ir, vis), *others, channels=3 if kind == "rgb" else 1)


def _planes(images: Sequence[Tensor], kind: Channels) -> Tensor:
    """Return the gray images of images that make one value each together: `(N, H, W)`."""
    if len({image.ndim for image in images}) > 1:
        return torch.cat([_planes([image], kind) for image in images])
    stack = torch.stack(list(images))
    if kind == "luma":
        return stack if stack.ndim == 3 else luma_on_device(stack)
    if stack.ndim == 3:
        stack = stack.unsqueeze(-1).expand(-1, -1, -1, 3)
    channels = stack.movedim(-1, 1)  # (B, 3, H, W)
    if kind == "side_by_side":
        return torch.cat(channels.unbind(1), dim=-1)
    return channels.flatten(0, 1)
