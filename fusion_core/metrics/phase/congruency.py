"""Phase congruency and its moments (Kovesi 1999, 2003)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_core.compiled import dispatch
from fusion_core.compiled.trial import try_kernel
from fusion_core.metrics.filters.frequency import multiply_spectrum
from fusion_core.metrics.phase import energy
from fusion_core.metrics.phase.log_gabor import ORIENTATIONS, FilterBank, filter_bank
from fusion_core.metrics.phase.median import median

_NOISE_SCALE = (math.sqrt(math.pi / 2.0) + 2.0 * math.sqrt(2.0 - math.pi / 2.0)) / 1.7
"""The noise threshold over the noise amplitude: its mean and two deviations, over 1.7."""


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
    found = [_find_features(image, bank) for image in images]
    return Features(*(torch.stack(maps) for maps in zip(*found, strict=True)))


def _find_features(image: Tensor, bank: FilterBank) -> Features:
    """Compute the features of one image, `(H, W)`."""
    # The mean has no influence. Without the level of one pixel, flat images are exactly zero.
    spectrum = torch.fft.fft2(image - image[0, 0])
    spectrum /= image.numel()  # instead of each inverse transform
    bands = _split(spectrum, bank.radial)
    sums = image.new_zeros(5, *image.shape)
    for n in range(ORIENTATIONS):
        responses = _respond(bands, bank.angular[n])
        noise = _noise_energy(responses[0], bank.energies[n], bank.spreads[n])
        _add_orientation(responses, noise, n * math.pi / ORIENTATIONS, sums)
    local, amplitude, xx, yy, xy = sums
    difference = torch.sqrt(xy * xy + (xx - yy) ** 2) + energy.EPSILON
    return Features(
        local / (amplitude + energy.EPSILON),
        (xx + yy + difference) / 2.0,
        (xx + yy - difference) / 2.0,
    )


def _split(spectrum: Tensor, radial: Tensor) -> Tensor:
    """Split a spectrum `(H, W)` into bands: `(4, H, W)` complex."""
    if not dispatch.use_kernels(radial):
        return spectrum * radial
    bands = torch.empty(radial.shape, dtype=spectrum.dtype)
    for factors, band in zip(radial, bands, strict=True):
        multiply_spectrum(spectrum, factors, band)
    return bands


def _respond(bands: Tensor, angular: Tensor) -> Sequence[Tensor] | Tensor:
    """Filter the bands of an image in one direction: `(H, W)` complex of each band."""
    if not dispatch.use_kernels(angular):
        stacked: Tensor = torch.fft.ifft2(bands * angular, norm="forward")
        return stacked
    # One transform at a time stays in the cache.
    product = torch.empty_like(bands[0])
    return [torch.fft.ifft2(multiply_spectrum(x, angular, product), norm="forward") for x in bands]


def _noise_energy(finest: Tensor, filter_energy: float, spread: float) -> float | Tensor:
    """The energy that noise alone reaches, from the median response at the finest scale."""
    power = median(_squared_amplitudes(finest.flatten())) / (math.log(2.0) * filter_energy)
    squared = power * spread
    root = torch.sqrt(squared) if isinstance(squared, Tensor) else math.sqrt(squared)
    return root * _NOISE_SCALE


def _squared_amplitudes(responses: Tensor) -> Tensor:
    if not dispatch.use_kernels(responses):
        return torch.view_as_real(responses).square().sum(dim=-1)
    from fusion_core.metrics.phase.kernels import square_amplitudes

    squares = torch.empty(responses.shape, dtype=torch.float64)
    square_amplitudes(responses.numpy(), squares.numpy())
    return squares


def _add_orientation(
    responses: Sequence[Tensor] | Tensor, noise: float | Tensor, alpha: float, sums: Tensor
) -> None:
    """Add energy, amplitude and moments of one orientation to the sums `(5, H, W)`."""
    weights = (
        math.cos(alpha) ** 2 / 3.0,
        math.sin(alpha) ** 2 / 3.0,
        math.cos(alpha) * math.sin(alpha) / 6.0,
    )
    if dispatch.use_kernels(sums):
        from fusion_core.metrics.phase.kernels import add_orientation

        flat = tuple(response.flatten().numpy() for response in responses)
        add_orientation(flat, float(noise), *weights, sums.view(len(sums), -1).numpy())
        return
    assert isinstance(responses, Tensor)
    assert isinstance(noise, Tensor)
    add = (_triton_kernel(sums.device) if sums.is_cuda else None) or add_by_tensors
    add(responses, noise, weights, sums)


@functools.cache
def _triton_kernel(device: torch.device) -> Callable[..., Tensor] | None:
    """Return the kernel if it can be used on a device, which is tried once per process."""
    values = torch.linspace(0.0, 100.0, 4 * 12 * 16 * 2, dtype=torch.float64, device=device)
    responses = torch.view_as_complex(values.sin_().view(4, 12, 16, 2))
    noise, weights = values.new_full((), 0.1), (0.3, 0.2, 0.1)
    sums = values.new_zeros(5, 12, 16)
    expected = add_by_tensors(responses, noise, weights, sums.clone())
    return try_kernel(_load, (responses, noise, weights, sums), expected, metrics="Qp")


def _load() -> Callable[..., Tensor]:
    from fusion_core.metrics.phase.energy_triton import add_orientation

    return add_orientation


def add_by_tensors(
    responses: Tensor, noise: Tensor, weights: tuple[float, float, float], sums: Tensor
) -> Tensor:
    """Do what `energy_triton.add_orientation` does by tensor operations."""
    even, odd = responses.real.unbind(), responses.imag.unbind()
    amplitudes = tuple(energy.amplitude(e, o, torch.sqrt) for e, o in zip(even, odd, strict=True))
    total = torch.stack(amplitudes).sum(dim=0)
    local = (energy.local_energy(even, odd, torch.sqrt) - noise).clamp_min_(0.0)
    local *= energy.width_weight(amplitudes, total, torch.maximum, torch.exp)
    share = (local / total).masked_fill_(total == 0.0, 0.0)
    sums[0] += local
    sums[1] += total
    for moment, weight in zip(sums[2:], weights, strict=True):
        moment.addcmul_(share, share, value=weight)
    return sums
