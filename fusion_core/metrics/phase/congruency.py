"""Phase congruency and its moments (Kovesi 1999, 2003)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_core.metrics.phase.log_gabor import ORIENTATIONS, SCALES, FilterBank, filter_bank

_EPSILON = 1e-4
_NOISE_SCALE = (math.sqrt(math.pi / 2.0) + 2.0 * math.sqrt(2.0 - math.pi / 2.0)) / 1.7
"""The noise threshold over the noise amplitude: its mean and two deviations, over 1.7."""
_WIDTH_CUTOFF, _WIDTH_GAIN = 0.5, 10.0


class Features(NamedTuple):
    """Features of images: `(N, H, W)` each."""

    congruency: Tensor
    """Phase congruency."""
    edges: Tensor
    """The maximum moment over the orientations, which is large at edges."""
    corners: Tensor
    """The minimum moment, which is large at corners."""


def find_features(images: Tensor) -> Features:
    """Compute phase congruency and its moments.

    In each of six orientations, four log-Gabor filters give complex responses. Their local energy,
    less what noise reaches, weighted by the number of scales that respond, is summed over the
    orientations and divided by the sum of all amplitudes (Kovesi 1999, Videre 1 (3), 1-26; the
    moments are those of Kovesi 2003, DICTA). Constants and the frequencies of odd sizes are those
    of Kovesi's program in the version of Z. Liu, which the fusion literature takes.

    Args:
        images: `(N, H, W)` float64 in 0..255, at least 2x2 pixels.

    Returns:
        `(N, H, W)` each. All are 0 for a flat image.
    """
    bank = filter_bank(*images.shape[1:], images.device)
    # The mean has no influence. Without the level of one pixel, flat images are exactly zero.
    spectra = torch.fft.rfft2(images - images[:, :1, :1])
    found = [
        _find_features(image, spectrum, bank)
        for image, spectrum in zip(images, spectra, strict=True)
    ]
    return Features(*(torch.stack(maps) for maps in zip(*found, strict=True)))


def _find_features(image: Tensor, spectrum: Tensor, bank: FilterBank) -> Features:
    """Compute the features of one image, `(H, W)`, from its spectrum."""
    size = image.shape
    bands = [spectrum * radial for radial in bank.radial]
    energy, amplitude = torch.zeros_like(image), torch.zeros_like(image)
    xx, yy, xy = (torch.zeros_like(image) for _ in range(3))
    for n in range(ORIENTATIONS):
        even = [torch.fft.irfft2(band * bank.even[n], s=size) for band in bands]
        odd = [torch.fft.irfft2(band * bank.odd[n] * -1j, s=size) for band in bands]
        amplitudes = [torch.sqrt(e * e + o * o) for e, o in zip(even, odd, strict=True)]
        noise = _noise_threshold(amplitudes[0], bank.energies[n], bank.spreads[n])
        total = sum(amplitudes[1:], amplitudes[0])
        local = _local_energy(even, odd).sub_(noise).clamp_min_(0.0)
        local *= _width_weight(amplitudes, total)
        energy += local
        amplitude += total
        share = local.div_(total).masked_fill_(total == 0.0, 0.0)
        squares = share.mul_(share)
        alpha = n * math.pi / ORIENTATIONS
        xx.add_(squares, alpha=math.cos(alpha) ** 2 / 3.0)
        yy.add_(squares, alpha=math.sin(alpha) ** 2 / 3.0)
        xy.add_(squares, alpha=math.cos(alpha) * math.sin(alpha) / 6.0)
    difference = torch.sqrt(xy * xy + (xx - yy) ** 2) + _EPSILON
    return Features(
        energy / (amplitude + _EPSILON), (xx + yy + difference) / 2.0, (xx + yy - difference) / 2.0
    )


def _local_energy(even: list[Tensor], odd: list[Tensor]) -> Tensor:
    """Sum, over the scales, of the response along the mean phase, less the deviation from it."""
    mean_even, mean_odd = sum(even[1:], even[0]), sum(odd[1:], odd[0])
    norm = torch.sqrt(mean_even * mean_even + mean_odd * mean_odd) + _EPSILON
    mean_even, mean_odd = mean_even / norm, mean_odd / norm
    energy = torch.zeros_like(norm)
    for e, o in zip(even, odd, strict=True):
        energy += e * mean_even + o * mean_odd - (e * mean_odd - o * mean_even).abs()
    return energy


def _noise_threshold(finest: Tensor, energy: Tensor, spread: Tensor) -> Tensor:
    """The amplitude that noise alone reaches, from the median response at the finest scale."""
    power = _median(finest.flatten().square()) / (math.log(2.0) * energy)
    return torch.sqrt(power * spread) * _NOISE_SCALE


def _width_weight(amplitudes: list[Tensor], total: Tensor) -> Tensor:
    """A weight that is small where few scales respond."""
    largest = amplitudes[0]
    for amplitude in amplitudes[1:]:
        largest = torch.maximum(largest, amplitude)
    width = total / (largest + _EPSILON) / SCALES
    return torch.sigmoid((width - _WIDTH_CUTOFF) * _WIDTH_GAIN)


def _median(values: Tensor) -> Tensor:
    """Median of `(N,)`: the mean of the two middle ones if N is even."""
    middle = (len(values) + 1) // 2
    lower = values.kthvalue(middle).values
    return lower if len(values) % 2 else 0.5 * (lower + values.kthvalue(middle + 1).values)
