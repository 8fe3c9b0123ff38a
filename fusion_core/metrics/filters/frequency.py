"""Filters that are defined in the frequency domain, with periodic borders."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import ScoredBatch


def stretched_levels(batch: ScoredBatch) -> Tensor:
    """Stretch each image to whole numbers in 0..255, halves rounded up: `(3, B, H, W)` float64.

    A flat image becomes black.
    """
    levels = batch.levels
    low, high = levels.amin(dim=(2, 3), keepdim=True), levels.amax(dim=(2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return ((levels - low) / span).mul_(255.0).add_(0.5).floor_()


def stretched_spectra(batch: ScoredBatch) -> Tensor:
    """Transform the stretched images: `(3, B, H, W // 2 + 1)` complex."""
    spectra: Tensor = torch.fft.rfft2(batch.cached(stretched_levels))
    return spectra


def radial_frequencies(batch: ScoredBatch) -> Tensor:
    """Return each frequency's distance from zero, in cycles per picture: `(H, W // 2 + 1)`."""
    device = batch.gray.device
    across = torch.fft.rfftfreq(batch.width, 1.0 / batch.width, dtype=torch.float64, device=device)
    down = torch.fft.fftfreq(batch.height, 1.0 / batch.height, dtype=torch.float64, device=device)
    return torch.sqrt(across * across + (down * down).unsqueeze(1))


def filter_spectra(batch: ScoredBatch, spectra: Tensor, response: Tensor) -> Tensor:
    """Filter spectra `(…, H, W // 2 + 1)`, and transform them back: `(…, H, W)` float64."""
    filtered: Tensor = torch.fft.irfft2(spectra * response, s=(batch.height, batch.width))
    return filtered
