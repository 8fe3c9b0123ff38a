"""Scores by measures of other libraries."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.extensions.guarding import restored_state
from fusion_core.metrics.base import ScoredBatch
from fusion_core.metrics.libraries.loading import Compute, load_measure
from fusion_core.metrics.libraries.measures import Measure

_RGB = 3


def score_measure(measure: Measure, batch: ScoredBatch) -> Tensor:
    """Compute a measure of a batch, `(B,)`: of the fused images, or their mean over both sources.

    Images are RGB in 0..1, float32, as the libraries expect; a gray image has three equal channels.
    They are measured one by one, and measures that draw random crops draw the same ones for each.

    Args:
        measure: The measure.
        batch: The images. If `batch.channels` is 3, each three in a row are the channels of one.

    Returns:
        The value of each image, for each of its channels.

    Raises:
        InvalidValueError: The library is not installed, or cannot measure such images.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    compute = load_measure(measure, batch.gray.device)
    images = batch.gray.unflatten(1, (-1, batch.channels)).expand(-1, -1, _RGB, -1, -1)
    values = [_measure(measure, compute, image) for image in images.unbind(dim=1)]
    found = torch.tensor(values, dtype=torch.float64, device=batch.gray.device)
    return found.repeat_interleave(batch.channels)


def _measure(measure: Measure, compute: Compute, images: Tensor) -> float:
    """Measure A, B and F, `(3, 3, H, W)` uint8."""
    a, b, f = images.to(torch.float32).div(255.0).unsqueeze(1)
    pairs = ((f, a), (f, b)) if measure.compares else ((f,),)
    with restored_state():
        try:
            values = [float(compute(*pair)) for pair in pairs]
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            size = "x".join(map(str, (f.shape[-1], f.shape[-2])))
            raise InvalidValueError(
                f"{measure.requested} cannot measure images of {size} pixels: {error}"
            ) from error
    return sum(values) / len(values)
