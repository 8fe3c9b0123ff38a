"""What a metric is, and what all metrics share: the checked images, and results computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError

T = TypeVar("T")


class Images:
    """A batch of pairs with their fused images, and what has been computed of them so far.

    Metrics that need the same thing (gray levels as doubles, joint histograms) share it by asking
    for it through `once`.

    Args:
        ir: A, `(B, 1, H, W)` uint8.
        vis: B, likewise.
        fused: F, likewise.

    Raises:
        InvalidValueError: The three are not uint8 of one shape, or they are empty.
    """

    def __init__(self, ir: Tensor, vis: Tensor, fused: Tensor) -> None:
        _check_images(ir, vis, fused)
        self.levels = torch.stack((ir, vis, fused)).squeeze(2)
        """Gray levels of A, B and F: `(3, B, H, W)` uint8."""
        self._results: dict[Hashable, Any] = {}

    def once(self, compute: Callable[[Images], T]) -> T:
        """Return `compute(self)`, computed by the first metric that asks for it."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        return cast("T", self._results[compute])

    @property
    def doubles(self) -> Tensor:
        """A, B and F in 0..1: `(3, B, H, W)` float64."""
        return self.once(_to_double)

    @property
    def height(self) -> int:
        """Pixels."""
        return self.levels.shape[2]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.levels.shape[3]

    def undefined(self) -> Tensor:
        """Return NaN for each pair: the result of a metric that the size leaves undefined."""
        return torch.full(
            (self.levels.shape[1],), torch.nan, dtype=torch.float64, device=self.levels.device
        )


@dataclass(frozen=True)
class Metric:
    """A quality metric of fused images with what a reader of its column must know."""

    name: str
    title: str
    measure: Callable[[Images], Tensor]
    """Images to `(B,)` float64, NaN where the metric is undefined."""
    higher_is_better: bool
    range: str
    unit: str
    paper: str
    undefined: str = ""
    """When the definition gives no value; said in the row beside the null."""

    def compute(self, ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
        """Compute the metric alone.

        Args:
            ir: A, `(B, 1, H, W)` uint8.
            vis: B, likewise.
            fused: F, likewise.

        Returns:
            `(B,)` float64, on the images' device; NaN where undefined.

        Raises:
            InvalidValueError: The three are not uint8 of one shape, or they are empty.
        """
        return self.measure(Images(ir, vis, fused))


def _check_images(ir: Tensor, vis: Tensor, fused: Tensor) -> None:
    for name, image in (("ir", ir), ("vis", vis), ("fused", fused)):
        if image.dtype != torch.uint8:
            raise InvalidValueError(f"Expected {name} of dtype uint8, but got {image.dtype}")
        if image.ndim != 4 or image.shape[1] != 1:
            raise InvalidValueError(
                f"Expected {name} of shape (B, 1, H, W), but got {tuple(image.shape)}"
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


def _to_double(images: Images) -> Tensor:
    return to_unit_range(images.levels)


def to_unit_range(levels: Tensor) -> Tensor:
    """Divide gray levels by 255, correctly rounded: float64 in 0..1.

    CUDA multiplies by the reciprocal of a Python number, which is off by an ulp for some levels and
    undoes the ties that edge metrics hang on; it divides by a tensor.
    """
    white = torch.full((), 255.0, dtype=torch.float64, device=levels.device)
    return levels.to(torch.float64).div_(white)
