"""The two-dimensional discrete cosine transform."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def cosine_transform(images: Tensor) -> Tensor:
    """Return the orthonormal DCT-II over the last two dimensions.

    It is computed by a Fourier transform of the same length (Makhoul, "A fast cosine transform in
    one and two dimensions", IEEE Transactions on Acoustics, Speech, and Signal Processing, 1980,
    https://doi.org/10.1109/TASSP.1980.1163351).

    Args:
        images: `(..., H, W)` float64, any H and W.

    Returns:
        `(..., H, W)` float64.

    Example:
        >>> cosine_transform(torch.ones(2, 2, dtype=torch.float64)).round(decimals=9).tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    return _transform(_transform(images).mT).mT


def inverse_cosine_transform(spectra: Tensor) -> Tensor:
    """Return the inverse of `cosine_transform`.

    Args:
        spectra: `(..., H, W)` float64.

    Returns:
        `(..., H, W)` float64.
    """
    return _inverse(_inverse(spectra).mT).mT


def _transform(rows: Tensor) -> Tensor:
    length = rows.shape[-1]
    even_then_odd = torch.cat((rows[..., ::2], rows[..., 1::2].flip(-1)), dim=-1)
    rotated: Tensor = torch.fft.fft(even_then_odd) * _rotation(length, rows.device)
    return rotated.real * _scale(length, rows.device)


def _inverse(rows: Tensor) -> Tensor:
    length = rows.shape[-1]
    real = rows / _scale(length, rows.device)
    imaginary = torch.zeros_like(real)
    imaginary[..., 1:] = -real[..., 1:].flip(-1)
    spectrum = torch.complex(real, imaginary) * _rotation(length, rows.device).conj()
    even_then_odd: Tensor = torch.fft.ifft(spectrum).real
    result = torch.empty_like(real)
    half = (length + 1) // 2
    result[..., ::2] = even_then_odd[..., :half]
    result[..., 1::2] = even_then_odd[..., half:].flip(-1)
    return result


@functools.lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _rotation(length: int, device: torch.device) -> Tensor:
    angles = torch.arange(length, dtype=torch.float64, device=device) * (-math.pi / (2 * length))
    return torch.polar(torch.ones_like(angles), angles)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _scale(length: int, device: torch.device) -> Tensor:
    scale = torch.full((length,), math.sqrt(2.0 / length), dtype=torch.float64, device=device)
    scale[0] = math.sqrt(1.0 / length)
    return scale
