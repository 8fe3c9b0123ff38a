"""The guided filter."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.filters.box import box_mean


def guided_filter(guide: Tensor, images: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth images, with the edges of a guide.

    Each window is a linear function of the guide, and each pixel the mean over its windows:
    He, Sun & Tang, "Guided Image Filtering", IEEE Transactions on Pattern Analysis and Machine
    Intelligence, 2013, https://doi.org/10.1109/TPAMI.2012.213, Eq. 5, 6 and 8. Windows are cut at
    the border.

    Args:
        guide: `(..., H, W)`, float64 where `epsilon` is small against the squares of its values.
        images: `(..., H, W)` of the same dtype.
        radius: Radius of the windows in pixels.
        epsilon: Variance of the guide below which a window counts as smooth.

    Returns:
        `(..., H, W)`.

    Example:
        >>> import torch
        >>> step = torch.tensor([[0.0, 0.0, 0.0, 9.0, 9.0, 9.0]])
        >>> guided_filter(step, step, 1, 1e-3).round(decimals=2).tolist()
        [[0.0, 0.0, 0.0, 9.0, 9.0, 9.0]]
    """
    size = box_mean(guide.new_ones(guide.shape[-2:]), radius, border="zero")
    if _fits_kernel(guide, images) and radius:
        return _filter_compiled(guide, images, size, radius, epsilon)

    def mean(values: Tensor) -> Tensor:
        return box_mean(values, radius, border="zero") / size

    guide_mean, image_mean = mean(guide), mean(images)
    variance = mean(guide * guide) - guide_mean * guide_mean
    same = images is guide
    covariance = variance if same else mean(guide * images) - guide_mean * image_mean
    slope = covariance / (variance + epsilon)
    return mean(slope) * guide + mean(image_mean - slope * guide_mean)


def _fits_kernel(guide: Tensor, images: Tensor) -> bool:
    """Whether the compiled filter, whose results are the same, can take these images."""
    plain = not (guide.requires_grad or images.requires_grad) and guide.numel() > 0
    same_type = guide.dtype == images.dtype and guide.dtype in (torch.float32, torch.float64)
    return dispatch.use_kernels(guide) and plain and same_type and guide.shape == images.shape


def _filter_compiled(
    guide: Tensor, images: Tensor, size: Tensor, radius: int, epsilon: float
) -> Tensor:
    from fusion_core.filters.guided_kernels import filter_guided

    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    number: Any = torch.empty(0, dtype=images.dtype).numpy().dtype.type
    filter_guided(
        _planes(guide),
        _planes(images),
        images is guide,
        size.numpy(),
        radius,
        number((2 * radius + 1) ** 2),
        number(epsilon),
        _planes(result),
    )
    return result


def _planes(maps: Tensor) -> NDArray[Any]:
    return maps.detach().contiguous().view(-1, *maps.shape[-2:]).numpy()
