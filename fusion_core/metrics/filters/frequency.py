"""Filters that are defined in the frequency domain, with periodic borders."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import GrayImages


def stretched_levels(images: GrayImages) -> Tensor:
    """Stretch each image to whole numbers in 0..255, halves rounded up: `(…, H, W)` float64.

    A flat image becomes black.
    """
    levels = images.levels
    low, high = levels.amin(dim=(-2, -1), keepdim=True), levels.amax(dim=(-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return ((levels - low) / span).mul_(255.0).add_(0.5).floor_()


def stretched_spectra(images: GrayImages) -> Tensor:
    """Transform the stretched images: `(…, H, W // 2 + 1)` complex."""
    spectra: Tensor = torch.fft.rfft2(images.cached(stretched_levels))
    return spectra


def radial_frequencies(height: int, width: int, device: torch.device) -> Tensor:
    """Return each frequency's distance from zero, in cycles per picture: `(H, W // 2 + 1)`."""
    across = torch.fft.rfftfreq(width, 1.0 / width, dtype=torch.float64, device=device)
    down = torch.fft.fftfreq(height, 1.0 / height, dtype=torch.float64, device=device)
    return torch.sqrt(across * across + (down * down).unsqueeze(1))


def filter_spectra(images: GrayImages, spectra: Tensor, response: Tensor) -> Tensor:
    """Filter spectra `(…, H, W // 2 + 1)`, and transform them back: `(…, H, W)` float64."""
    size = (images.height, images.width)
    if not dispatch.use_kernels(response):
        filtered: Tensor = torch.fft.irfft2(spectra * response, s=size)
        return filtered
    # One transform at a time stays in the cache.
    planes = spectra.flatten(0, -3)
    found = [torch.fft.irfft2(multiply_spectrum(plane, response), s=size) for plane in planes]
    return torch.stack(found).view(*spectra.shape[:-2], *size)


def multiply_spectrum(spectrum: Tensor, factors: Tensor, product: Tensor | None = None) -> Tensor:
    """Multiply complex numbers by real ones of the same shape, on the CPU into `product`."""
    if not dispatch.use_kernels(factors):
        return spectrum * factors
    from fusion_core.metrics.filters.kernels import multiply

    product = torch.empty_like(spectrum) if product is None else product
    multiply(spectrum.view(-1).numpy(), factors.view(-1).numpy(), product.view(-1).numpy())
    return product
