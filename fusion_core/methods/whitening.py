"""Whitening of deep features."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(features: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Zero-phase component analysis of each channel by itself.

    Li, Wu & Durrani, "Infrared and Visible Image Fusion with ResNet and zero-phase component
    analysis", 2019, Eq. 3-4: with the mean of a channel removed, its rows are the variables,
    `Co = F F^T` is not divided by their number, and `F` becomes `U (S + epsilon)^(-1/2) U^T F`.

    Args:
        features: `(..., H, W)`.
        epsilon: Added to the eigenvalues.

    Returns:
        `(..., H, W)` float64; 0 where a channel is constant.

    Where there are fewer columns than rows, `F (F^T F + epsilon)^(-1/2)` is computed, which is
    equal. The small eigenvalues, which matter as much as the large ones once they are scaled, need
    float64.
    """
    centred = features.double()
    centred = centred - centred.mean(dim=(-2, -1), keepdim=True)
    upright = centred.shape[-2] <= centred.shape[-1]
    rows = centred if upright else centred.mT
    eigenvalues, vectors = torch.linalg.eigh(rows @ rows.mT)
    scale = (eigenvalues.clamp_min(0.0) + epsilon).rsqrt()
    whitened: Tensor = (vectors * scale.unsqueeze(-2)) @ vectors.mT @ rows
    return whitened if upright else whitened.mT
