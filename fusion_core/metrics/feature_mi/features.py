"""The feature maps of FMI: binary edges, cosine transform, Meyer wavelet transform."""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fusion_core.compiled import dispatch

_MEYER_RADIUS = 50
"""The Meyer filter is truncated to n = -50..50."""
_TAPS = 2 * _MEYER_RADIUS + 2
_SLACK = 100.0 * float(np.finfo(np.float64).eps)
_CUTOFF = 4.0 * (1.0 + 2.0**-40)
"""Edges are stronger than this multiple of the mean, by more than the rounding of sums.

Where a quarter of the pixels hold one strength and the rest none, that strength is the cutoff.
"""


def edge_map(images: Tensor) -> Tensor:
    """Mark thinned Sobel edges, as MATLAB's `edge` does.

    Ties decide what is thinned away, so the order of the sums is part of the definition: the
    negative products first, then the positive ones, each three in the order of the image.

    Args:
        images: `(N, H, W)` float64 in 0..1.

    Returns:
        `(N, H, W)` uint8, 0 or 1.
    """
    padded = functional.pad(images.unsqueeze(0), (1, 1, 1, 1), mode="replicate").squeeze(0)
    return edge_map_inside(padded)


def edge_map_inside(padded: Tensor) -> Tensor:
    """Mark edges of images whose border is repeated once, `(N, H + 2, W + 2)`; see `edge_map`."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    if dispatch.use_kernels(padded):
        from fusion_core.metrics.feature_mi.features_kernels import mark_edges

        edges = torch.empty(len(padded), height, width, dtype=torch.uint8)
        for image, marks in zip(padded.numpy(), edges.numpy(), strict=True):
            mark_edges(image, _CUTOFF, _SLACK, marks)
        return edges
    p = [[padded[:, y : y + height, x : x + width] for x in range(3)] for y in range(3)]
    x = (-p[0][0] - 2.0 * p[1][0] - p[2][0] + p[0][2] + 2.0 * p[1][2] + p[2][2]) * 0.125
    y = (-p[0][0] - 2.0 * p[0][1] - p[0][2] + p[2][0] + 2.0 * p[2][1] + p[2][2]) * 0.125
    strength = x * x + y * y
    x, y = x.abs_(), y.abs_()
    around = functional.pad(strength, (1, 1, 1, 1))
    left, right = around[:, 1:-1, :-2], around[:, 1:-1, 2:]
    up, down = around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    across = (x >= y - _SLACK) & (left <= strength) & (strength > right)
    along = (y >= x - _SLACK) & (up <= strength) & (strength > down)
    cutoff = _CUTOFF * strength.mean(dim=(1, 2), keepdim=True)
    return ((strength > cutoff) & (across | along)).to(torch.uint8)


def cosine_transform(images: Tensor) -> Tensor:
    """Transform whole images by the orthonormal DCT-II: `(N, H, W)` float64 to the same shape."""
    if dispatch.use_kernels(images):
        return torch.from_numpy(scipy.fft.dctn(images.numpy(), axes=(1, 2), norm="ortho"))
    rows = _cosine_transform_last(images)
    return _cosine_transform_last(rows.transpose(1, 2)).transpose(1, 2).contiguous()


def _cosine_transform_last(x: Tensor) -> Tensor:
    """DCT-II of rows by a real Fourier transform of their reordered samples (Makhoul 1980)."""
    length = x.shape[-1]
    reordered = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), dim=-1)
    spectrum = torch.fft.rfft(reordered) * _cosine_phases(length, x.device)
    return torch.cat((spectrum.real, -spectrum.imag[..., 1 : (length + 1) // 2].flip(-1)), dim=-1)


@functools.lru_cache(maxsize=32)
def _cosine_phases(length: int, device: torch.device) -> Tensor:
    k = torch.arange(length // 2 + 1, dtype=torch.float64, device=device)
    scale = torch.full_like(k, math.sqrt(2.0 / length))
    scale[0] = math.sqrt(1.0 / length)
    return torch.polar(scale, -math.pi / (2.0 * length) * k)


def meyer_transform(images: Tensor) -> Tensor:
    """Transform by one level of the discrete Meyer wavelet (102 taps, half-point symmetric border).

    Args:
        images: `(N, H, W)` float64.

    Returns:
        `[cA cH; cV cD]`: `(N, 2 * ((H + 101) // 2), 2 * ((W + 101) // 2))`.
    """
    if dispatch.use_kernels(images):
        return _compiled_meyer_transform(images)
    down, across = (_meyer_matrix(length, images.device) for length in images.shape[1:])
    low, high = (down @ images @ across.T).chunk(2, dim=1)
    a, v = low.chunk(2, dim=2)
    h, d = high.chunk(2, dim=2)
    return torch.cat((torch.cat((a, h), dim=2), torch.cat((v, d), dim=2)), dim=1)


def _compiled_meyer_transform(images: Tensor) -> Tensor:
    from fusion_core.metrics.feature_mi.features_kernels import analyse

    rows, columns = (_mirrored(length) for length in images.shape[1:])
    sizes = [2 * _half_length(length) for length in images.shape[1:]]
    filters = np.stack([taps[::-1] for taps in meyer_filters()])
    result = torch.empty(len(images), *sizes, dtype=torch.float64)
    for image, coefficients in zip(images.numpy(), result.numpy(), strict=True):
        analyse(image, rows, columns, filters, coefficients)
    return result


@functools.lru_cache(maxsize=4)
def _meyer_matrix(length: int, device: torch.device) -> Tensor:
    """Return the transform of one axis as a matrix: low-pass rows, then high-pass rows."""
    source = _mirrored(length)
    half = _half_length(length)
    matrix = np.zeros((2 * half, length))
    rows = np.arange(half)[:, np.newaxis]
    columns = source[2 * rows + np.arange(_TAPS)]
    for band, taps in enumerate(meyer_filters()):
        np.add.at(matrix, (band * half + rows, columns), taps[::-1])
    return torch.from_numpy(matrix).to(device)


def _half_length(length: int) -> int:
    """Return the number of coefficients that a filter leaves of `length` samples."""
    return (length + _TAPS - 1) // 2


@functools.lru_cache(maxsize=32)
def _mirrored(length: int) -> NDArray[np.int64]:
    """Return the index of the sample at each position that a filter covers, first to last.

    The border is mirrored with its pixel (half-point symmetric), repeatedly where necessary.
    """
    half = _half_length(length)
    positions = np.arange(2 - _TAPS, 2 - _TAPS + 2 * (half - 1) + _TAPS)
    folded = positions % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


@functools.lru_cache(maxsize=1)
def meyer_filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the decomposition filters of the discrete Meyer wavelet, low-pass and high-pass.

    The low-pass is h[n] = sqrt(2) / pi * integral over 0..pi of m0(w) cos(n w), n = -50..50, where
    m0(w) is Meyer's scaling function at 2w, with a zero appended, scaled to the sum sqrt(2), and
    reversed; the high-pass is its quadrature mirror (102 taps each, as MATLAB's `dmey`).
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    n = np.arange(-_MEYER_RADIUS, _MEYER_RADIUS + 1)
    # m0 is 1 up to pi/3 and falls to 0 at 2 pi/3.
    start, end = math.pi / 3.0, 2.0 * math.pi / 3.0
    w = 0.5 * (end - start) * nodes + 0.5 * (end + start)
    t = 3.0 * w / math.pi - 1.0
    falling = np.cos(math.pi / 2.0 * t**4 * (35.0 - 84.0 * t + 70.0 * t**2 - 20.0 * t**3))
    integral = 0.5 * (end - start) * (weights * falling * np.cos(np.outer(n, w))).sum(axis=1)
    integral += start * np.sinc(n / 3.0)
    reconstruction = np.append(integral, 0.0)
    reconstruction *= math.sqrt(2.0) / reconstruction.sum()
    low = reconstruction[::-1].copy()
    high = reconstruction * (-1.0) ** np.arange(1, _TAPS + 1)
    return low, high
