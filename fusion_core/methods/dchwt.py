"""Discrete cosine harmonic wavelet transform."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import (
    box_mean,
    cosine_transform,
    imresize,
    inverse_cosine_transform,
)
from fusion_core.methods.sources import divide, round_gray, split_pair
from fusion_core.methods.specs.dchwt import DchwtParameters

_ORIENTATIONS = ("vertical", "horizontal", "diagonal")
Bands = list[dict[str, Tensor]]
"""The bands of each level, from the coarsest to the finest; the first has `approximation`, too."""


def dchwt(sources: Tensor, *, levels: int = 3) -> Tensor:
    """Average the coefficients of a cosine wavelet transform, weighted by their significance.

    Kumar, "Multifocus and multispectral image fusion based on pixel significance using discrete
    cosine harmonic wavelet transform", Signal, Image and Video Processing, 2013,
    https://doi.org/10.1007/s11760-012-0361-x. The bands are parts of the cosine transform, each
    transformed back. As in the published code, rows and columns of the transform beyond a multiple
    of 2 ** levels are dropped, and the result is enlarged to the size of the sources. Where neither
    source is significant, the published code writes a black image; here both have the same weight.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        levels: Number of levels; fewer if the images are smaller than 2 ** levels pixels.

    Returns:
        `(B, 1, H, W)` float32, whole gray levels in 0..255.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> dchwt(torch.full((2, 1, 1, 8, 8), 9.0)).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "dchwt")
    height, width = infrared.shape[-2:]
    levels = min(levels, min(height, width).bit_length() - 1)
    bands = _decompose(torch.stack((infrared, visible)), levels)
    significance = _significance(bands)
    fused: Bands = [
        {name: _average(band[name], weights[name]) for name in band}
        for band, weights in zip(bands, significance, strict=True)
    ]
    return imresize(round_gray(_compose(fused)), (height, width)).float()


def _decompose(images: Tensor, levels: int) -> Bands:
    spectrum = cosine_transform(images)
    rows, columns = (side >> levels for side in images.shape[-2:])
    bands: Bands = []
    approximation = {"approximation": inverse_cosine_transform(spectrum[..., :rows, :columns])}
    for _ in range(levels):
        parts = {
            "vertical": spectrum[..., :rows, columns : 2 * columns],
            "horizontal": spectrum[..., rows : 2 * rows, :columns],
            "diagonal": spectrum[..., rows : 2 * rows, columns : 2 * columns],
        }
        bands.append({name: inverse_cosine_transform(part) for name, part in parts.items()})
        rows, columns = 2 * rows, 2 * columns
    if not bands:
        return [approximation]
    bands[0].update(approximation)
    return bands


def _compose(bands: Bands) -> Tensor:
    spectrum = cosine_transform(bands[0]["approximation"])
    for band in bands:
        if "diagonal" not in band:
            continue
        vertical, horizontal, diagonal = (cosine_transform(band[name]) for name in _ORIENTATIONS)
        upper = torch.cat((spectrum, vertical), dim=-1)
        spectrum = torch.cat((upper, torch.cat((horizontal, diagonal), dim=-1)), dim=-2)
    return inverse_cosine_transform(spectrum)


def _significance(bands: Bands) -> Bands:
    """Return the significance of each coefficient of the two sources."""
    if "diagonal" not in bands[0]:
        return [{"approximation": torch.ones_like(bands[0]["approximation"])}]
    significance: Bands = [{} for _ in bands]
    for name in _ORIENTATIONS:
        finest = bands[-1][name]
        significance[-1][name] = box_mean(finest.square(), 1, border="mirror")
        for level, band in enumerate(bands[:-1]):
            total = band[name].abs()
            for finer in range(level + 1, len(bands)):
                total = total + _children(bands[finer][name].abs(), 1 << (finer - level))
            significance[level][name] = total
    coarsest = significance[0]
    coarsest["approximation"] = sum(
        (coarsest[name] for name in _ORIENTATIONS[1:]), start=coarsest[_ORIENTATIONS[0]]
    )
    return significance


def _children(maps: Tensor, factor: int) -> Tensor:
    """Sum the `factor` x `factor` pixels of a finer band that belong to each pixel."""
    height, width = maps.shape[-2:]
    blocks = maps.reshape(*maps.shape[:-2], height // factor, factor, width // factor, factor)
    return blocks.sum(dim=(-3, -1))


def _average(coefficients: Tensor, weights: Tensor) -> Tensor:
    total = weights[0] + weights[1]
    weighted = coefficients[0] * weights[0] + coefficients[1] * weights[1]
    return divide(weighted, total, 0.5 * (coefficients[0] + coefficients[1]))


def build_dchwt(
    parameters: DchwtParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: dchwt(sources, levels=parameters.levels)
