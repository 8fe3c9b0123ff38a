"""The batch of images that the metrics of one call share, and the evaluation of one metric."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError

T = TypeVar("T")

Image: TypeAlias = NDArray[np.uint8] | Tensor
"""Gray levels, uint8: one image as `(H, W)`, or a batch as `(B, 1, H, W)`."""


class ScoredBatch:
    """A batch of pairs and their fused images, with the intermediate results computed so far.

    Metrics that need the same intermediate result, such as the fused images' histograms, request
    it through `cached`, so that it is computed once however many of them are scored.

    Args:
        ir: Infrared images A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible images B, likewise.
        fused: Fused images F, likewise.
        reference: What the fused images should be, likewise, if that is known.

    Raises:
        InvalidValueError: The images are not uint8, differ in shape or are empty.
    """

    def __init__(self, ir: Image, vis: Image, fused: Image, reference: Image | None = None) -> None:
        images = [_to_tensor(image) for image in (ir, vis, fused)]
        _check_images(*images)
        height, width = images[0].shape[-2:]
        self.gray = torch.stack([image.reshape(-1, height, width) for image in images])
        """Gray levels of A, B and F: `(3, B, H, W)` uint8."""
        self.against_reference: ScoredBatch | None = None
        """The batch with the reference in place of both sources; None if there is no reference."""
        if reference is not None:
            self.against_reference = ScoredBatch(reference, reference, fused)
        self._cache: dict[Hashable, Any] = {}

    def cached(self, compute: Callable[[ScoredBatch], T]) -> T:
        """Return `compute(self)`, which is computed at the first request only."""
        if compute not in self._cache:
            self._cache[compute] = compute(self)
        return cast("T", self._cache[compute])

    @property
    def unit(self) -> Tensor:
        """A, B and F on the unit range 0..1: `(3, B, H, W)` float64."""
        return self.cached(_to_unit)

    @property
    def levels(self) -> Tensor:
        """A, B and F on 0..255: `(3, B, H, W)` float64."""
        return self.cached(_to_levels)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.gray.shape[2]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.gray.shape[3]

    def undefined(self) -> Tensor:
        """Return NaN for each pair: the value of a metric that is undefined at this size."""
        return torch.full(
            (self.gray.shape[1],), torch.nan, dtype=torch.float64, device=self.gray.device
        )


def evaluate(
    score_batch: Callable[[ScoredBatch], Tensor], ir: Image, vis: Image, fused: Image
) -> Tensor:
    """Compute one metric of one image or of a batch.

    Args:
        score_batch: What computes the metric of a batch.
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        float64 on the images' device, NaN where the metric is undefined: a scalar tensor for
        `(H, W)` images, `(B,)` for a batch.

    Raises:
        InvalidValueError: The images are not uint8, differ in shape or are empty.
    """
    values = score_batch(ScoredBatch(ir, vis, fused))
    return values[0] if fused.ndim == 2 else values


def _to_tensor(image: Image) -> Tensor:
    if isinstance(image, Tensor):
        return image
    return torch.from_numpy(np.array(image))  # a copy: the array may be read-only


def _check_images(ir: Tensor, vis: Tensor, fused: Tensor) -> None:
    for name, image in (("ir", ir), ("vis", vis), ("fused", fused)):
        if image.dtype != torch.uint8:
            raise InvalidValueError(f"Expected {name} of dtype uint8, but got {image.dtype}")
        if image.ndim != 2 and (image.ndim != 4 or image.shape[1] != 1):
            raise InvalidValueError(
                f"Expected {name} of shape (H, W) or (B, 1, H, W), but got {tuple(image.shape)}"
            )
    if not ir.shape == vis.shape == fused.shape:
        raise InvalidValueError(
            "Expected ir, vis and fused of one shape, but got "
            f"{tuple(ir.shape)}, {tuple(vis.shape)} and {tuple(fused.shape)}"
        )
    if ir.numel() == 0:
        raise InvalidValueError(
            f"Expected at least one pair of at least one pixel, but got shape {tuple(ir.shape)}"
        )


def _to_unit(batch: ScoredBatch) -> Tensor:
    return to_unit_range(batch.gray)


def _to_levels(batch: ScoredBatch) -> Tensor:
    return batch.gray.to(torch.float64)


def to_unit_range(gray: Tensor) -> Tensor:
    """Divide gray levels by 255, correctly rounded: float64 in 0..1.

    CUDA multiplies by the reciprocal of a Python number, which is off by an ulp for some levels and
    undoes the ties that edge metrics depend on; it divides by a tensor.
    """
    white = torch.full((), 255.0, dtype=torch.float64, device=gray.device)
    return gray.to(torch.float64).div_(white)
