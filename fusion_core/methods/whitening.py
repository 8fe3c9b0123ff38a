"""Whitening of deep features."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(features: Tensor, *, epsilon: float = 1e-5, centred: bool = True) -> Tensor:
    """Zero-phase component analysis of each channel by itself.

    Li, Wu & Durrani, "Infrared and Visible Image Fusion with ResNet and zero-phase component
    analysis", 2019, Eq. 3-4: the rows of a channel are the variables, `Co = F F^T` is not divided
    by their number, and `F` becomes `U (S + epsilon)^(-1/2) U^T F`.

    Args:
        features: `(..., H, W)`.
        epsilon: Added to the eigenvalues.
        centred: Whether the mean of each channel is removed before, as the method is defined;
            Eq. 3-4 do not remove it.

    Returns:
        `(..., H, W)` float64; 0 where a centred channel is constant.

    Where there are fewer columns than rows, `F (F^T F + epsilon)^(-1/2)` is computed, which is
    equal. The small eigenvalues, which matter as much as the large ones once they are scaled, need
    float64.
    """
    variables = features.double()
    if centred:
        variables = variables - variables.mean(dim=(-2, -1), keepdim=True)
    upright = variables.shape[-2] <= variables.shape[-1]
    rows = variables if upright else variables.mT
    eigenvalues, vectors = torch.linalg.eigh(rows @ rows.mT)
    scale = (eigenvalues.clamp_min(0.0) + epsilon).rsqrt()
    whitened: Tensor = (vectors * scale.unsqueeze(-2)) @ vectors.mT @ rows
    return whitened if upright else whitened.mT
