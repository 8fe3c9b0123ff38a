"""The mean of the sources, the baseline that a fusion method should surpass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.parameters import MethodParameters


def average(sources: Tensor) -> Tensor:
    """Average K sources pixel by pixel.

    Args:
        sources: `(K, B, 1, H, W)` float, K >= 2, any H and W.

    Returns:
        `(B, 1, H, W)`, of the dtype and within the range of the sources.

    Raises:
        InvalidValueError: There are fewer than two sources.

    >>> average(torch.tensor([10.0, 30.0]).view(2, 1, 1, 1, 1)).tolist()
    [[[[20.0]]]]
    """
    if len(sources) < 2:
        raise InvalidValueError(f"Expected at least 2 sources, but got {len(sources)}")
    return sources.mean(dim=0)


def build_average(
    parameters: MethodParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del parameters, weights, device
    return average
