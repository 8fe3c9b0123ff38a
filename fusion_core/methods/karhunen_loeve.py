"""Weights of two images by their principal component."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_weights(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of two images with which they form their principal component.

    The weights are the eigenvector of the larger eigenvalue of the covariance matrix of both
    images' pixels, divided by its sum (Karhunen-Loeve transform). Where they are not defined,
    because both images are flat or the sum is 0, both are 0.5.

    Args:
        first: `(B, 1, H, W)` float.
        second: Likewise.

    Returns:
        Two tensors `(B, 1, 1, 1)` float64 with the sum 1.

    Example:
        >>> images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> [weight.item() for weight in principal_weights(images, 3 * images)]
        [0.25, 0.75]
    """
    dims = (-2, -1)
    images = first.double(), second.double()
    deviations = [image - image.mean(dim=dims, keepdim=True) for image in images]
    a = deviations[0].square().sum(dim=dims, keepdim=True)
    b = (deviations[0] * deviations[1]).sum(dim=dims, keepdim=True)
    c = deviations[1].square().sum(dim=dims, keepdim=True)
    larger = 0.5 * (a + c) + torch.hypot(0.5 * (a - c), b)
    # Of two forms of the eigenvector, the one that is not a difference of nearly equal numbers.
    x = torch.where(a >= c, larger - c, b)
    y = torch.where(a >= c, b, larger - a)
    defined = x + y != 0
    weight = torch.where(defined, x / torch.where(defined, x + y, 1.0), 0.5)
    return weight, 1.0 - weight
