"""The guided filter."""

from __future__ import annotations

from torch import Tensor

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

    def mean(values: Tensor) -> Tensor:
        return box_mean(values, radius, border="zero") / size

    guide_mean, image_mean = mean(guide), mean(images)
    variance = mean(guide * guide) - guide_mean * guide_mean
    same = images is guide
    covariance = variance if same else mean(guide * images) - guide_mean * image_mean
    slope = covariance / (variance + epsilon)
    return mean(slope) * guide + mean(image_mean - slope * guide_mean)
