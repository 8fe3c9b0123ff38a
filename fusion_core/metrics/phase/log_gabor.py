"""The log-Gabor filters of phase congruency (Kovesi 1999), for one size of images."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

SCALES, ORIENTATIONS = 4, 6
_SHORTEST_WAVE = 3.0
_WAVE_RATIO = 2.1
_BANDWIDTH = 0.55
_ANGULAR_SIGMA = math.pi / ORIENTATIONS / 1.2
_CUTOFF, _SHARPNESS = 0.45, 15


class FilterBank(NamedTuple):
    """Filters as products of a radial and an angular factor, in the order of the DFT.

    A filter covers one direction only, so that its response is complex: the real part is that of an
    even-symmetric filter, and the imaginary part that of an odd-symmetric one.
    """

    radial: Tensor
    """Radial factors, the finest first: `(4, H, W)`."""
    angular: Tensor
    """Angular factors with a low-pass filter: `(6, H, W)`."""
    energies: list[float]
    """Sum of the squares of the finest filter of each orientation."""
    spreads: list[float]
    """Sum of the squared even impulse response of each orientation's sum of filters."""


@functools.lru_cache(maxsize=2)
def filter_bank(height: int, width: int, device: torch.device) -> FilterBank:
    """Return the filters for images of one size.

    Args:
        height: At least 2 pixels.
        width: At least 2 pixels.
        device: Device of the images.
    """
    x, y = _axis(width, device), _axis(height, device).unsqueeze(1)
    radius = torch.sqrt(x * x + y * y)
    radius[0, 0] = 1.0
    radial = torch.stack([_band(radius, scale) for scale in range(SCALES)])
    radial[:, 0, 0] = 0.0
    angle = torch.atan2(-y, x)
    angular = torch.stack([_direction(angle, n) for n in range(ORIENTATIONS)])
    angular *= _low_pass(height, width, device)
    return FilterBank(
        radial,
        angular,
        energies=[(radial[0] * factor).square().sum().item() for factor in angular],
        spreads=[_spread(radial.sum(dim=0) * factor) for factor in angular],
    )


def _spread(response: Tensor) -> float:
    """Sum the squared real part of an impulse response, by Parseval's theorem."""
    opposite = response.flip(0, 1).roll((1, 1), (0, 1))
    return (0.5 * (response + opposite)).square().sum().item()


def _axis(length: int, device: torch.device) -> Tensor:
    """Frequencies along one axis as in Kovesi's program, zero first; odd sizes reach 0.5 too."""
    positions = torch.arange(length, dtype=torch.float64, device=device) - length // 2
    return (positions / (length - length % 2)).roll(-(length // 2))


def _band(radius: Tensor, scale: int) -> Tensor:
    wavelength = _SHORTEST_WAVE * _WAVE_RATIO**scale
    return torch.exp(-(torch.log(radius * wavelength) ** 2) / (2.0 * math.log(_BANDWIDTH) ** 2))


def _low_pass(height: int, width: int, device: torch.device) -> Tensor:
    """Butterworth filter; at odd sizes it lies off by one frequency, as in Kovesi's program."""
    u, v = (
        ((torch.arange(length, dtype=torch.float64, device=device) - length // 2) / length)
        .roll(length // 2)
        .square()
        for length in (width, height)
    )
    radius = torch.sqrt(u + v.unsqueeze(1))
    return 1.0 / (1.0 + (radius / _CUTOFF) ** (2 * _SHARPNESS))


def _direction(angle: Tensor, orientation: int) -> Tensor:
    alpha = orientation * math.pi / ORIENTATIONS
    sine = torch.sin(angle) * math.cos(alpha) - torch.cos(angle) * math.sin(alpha)
    cosine = torch.cos(angle) * math.cos(alpha) + torch.sin(angle) * math.sin(alpha)
    return torch.exp(-(torch.atan2(sine, cosine) ** 2) / (2.0 * _ANGULAR_SIGMA**2))
