"""What a metric is, and the checks that all metrics share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError

MetricFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`ir, vis, fused`, each `(B, 1, H, W)` uint8, to `(B,)` float64, NaN where undefined."""


@dataclass(frozen=True)
class Metric:
    """A quality metric with what a reader of its column must know."""

    name: str
    title: str
    compute: MetricFunction
    higher_is_better: bool
    range: str
    unit: str
    paper: str
    undefined: str = ""
    """When the definition gives no value; said in the row beside the null."""


def check_images(ir: Tensor, vis: Tensor, fused: Tensor) -> None:
    """Check shapes and dtype once, at the public edge.

    Raises:
        InvalidValueError: Not three equal `(B, 1, H, W)` uint8 tensors.
    """
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


def to_double(image: Tensor) -> Tensor:
    """Scale uint8 to float64 in 0..1."""
    return image.to(torch.float64) / 255.0
