"""Metrics of edges: how much of the sources' gradients F keeps, and how much it makes up."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.metrics.base import Images, Metric
from fusion_core.metrics.compiled import dispatch

_HALF_PI = math.pi / 2.0
_NABF_WEIGHT = 0.001


def qabf(images: Images) -> Tensor:
    """Edge information that F keeps, weighted by the sources' gradients: 0..1.

    Xydeas & Petrovic 2000. The gradient is a Sobel convolution with zeros outside the image, its
    nine products added in a stated order, on which ties and zeros of flat areas hang. NaN where
    neither source has a gradient.
    """
    padded = functional.pad(images.doubles, (1, 1, 1, 1))
    if dispatch.use_kernels(padded):
        from fusion_core.metrics.edges.kernels import qabf_sums

        sums = dispatch.each_pair(qabf_sums, padded)
        return sums[:, 0] / sums[:, 1]
    strength, angle = _qabf_gradients(padded)
    quality = [_qabf_quality(strength[n], angle[n], strength[2], angle[2]) for n in range(2)]
    kept = (quality[0] * strength[0] + quality[1] * strength[1]).sum(dim=(1, 2))
    return kept / (strength[0] + strength[1]).sum(dim=(1, 2))


def nabf(images: Images) -> Tensor:
    """Artefacts: the share of edges in F that are in neither source, modified: 0..1.

    Shreyamsha Kumar 2013, with the weights of the published tables: gradients of images in 0..1
    never reach the threshold of the weights, so all pixels weigh alike. NaN where the image is one
    pixel wide or high and cannot be mirrored.
    """
    if min(images.height, images.width) < 2:
        return images.undefined()
    padded = functional.pad(images.doubles, (1, 1, 1, 1), mode="reflect")
    if dispatch.use_kernels(padded):
        from fusion_core.metrics.edges.kernels import nabf_sums

        sums = dispatch.each_pair(nabf_sums, padded, _NABF_WEIGHT)
        return sums[:, 0] / sums[:, 1]
    strength, angle = _nabf_gradients(padded)
    artefact = (strength[2] > strength[0]) & (strength[2] > strength[1])
    made_up, weights = torch.zeros_like(strength[2]), torch.zeros_like(strength[2])
    for source, direction in zip(strength[:2], angle[:2], strict=True):
        weight = torch.where(source >= 2.0, source**1.5, _NABF_WEIGHT)
        quality = _nabf_quality(source, direction, strength[2], angle[2])
        made_up += (1.0 - quality) * weight
        weights += weight
    return torch.where(artefact, made_up, 0.0).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))


def _square_root(values: Tensor) -> Tensor:
    """Take roots that ties may hang on: CUDA rounds them correctly, PyTorch's CPU code does not."""
    return values.sqrt()


def _corners(padded: Tensor) -> list[list[Tensor]]:
    """Return the nine shifted views of an image padded by one pixel, by row and column."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return [[padded[..., y : y + height, x : x + width] for x in range(3)] for y in range(3)]


def _qabf_gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    p = _corners(padded)
    sx = -p[2][2] - 2.0 * p[1][2] - p[0][2] + p[2][0] + 2.0 * p[1][0] + p[0][0]
    sy = p[2][2] - p[0][2] + 2.0 * p[2][1] - 2.0 * p[0][1] + p[2][0] - p[0][0]
    angle = torch.where(sx == 0.0, _HALF_PI, torch.atan(sy / sx))
    return _square_root(sx * sx + sy * sy), angle


def _qabf_quality(source: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor) -> Tensor:
    ratio = torch.minimum(source, fused) / torch.maximum(source, fused)
    ratio = torch.where(source == fused, fused, ratio)
    alignment = 1.0 - (angle - fused_angle).abs() / _HALF_PI
    strength = 0.9994 / (1.0 + torch.exp(-15.0 * (ratio - 0.5)))
    return strength * (0.9879 / (1.0 + torch.exp(-22.0 * (alignment - 0.8))))


def _nabf_gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    p = _corners(padded)
    left = p[0][0] + 2.0 * p[1][0] + p[2][0]
    right = p[0][2] + 2.0 * p[1][2] + p[2][2]
    gv = (right - left) * 0.125
    across = (p[2][0] - p[0][0]) + 2.0 * (p[2][1] - p[0][1]) + (p[2][2] - p[0][2])
    gh = across * 0.125
    angle = torch.where((gh == 0.0) & (gv == 0.0), 0.0, torch.atan(gv / gh))
    return _square_root(gh * gh + gv * gv), angle


def _nabf_quality(source: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor) -> Tensor:
    small, large = torch.minimum(source, fused), torch.maximum(source, fused)
    ratio = torch.where(small == 0.0, 0.0, small / large)
    orientation = ((angle - fused_angle).abs() - _HALF_PI).abs() / _HALF_PI
    strength = 0.9999 / (1.0 + torch.exp(-19.0 * (ratio - 0.5)))
    return (strength * (0.9995 / (1.0 + torch.exp(-22.0 * (orientation - 0.5))))).sqrt()


QABF = Metric(
    name="Qabf",
    title="Edge information kept from the sources",
    measure=qabf,
    higher_is_better=True,
    range="0..1",
    unit="1",
    paper="Xydeas & Petrovic 2000",
    undefined="neither source has an edge",
)
NABF = Metric(
    name="Nabf",
    title="Fusion artefacts, modified",
    measure=nabf,
    higher_is_better=False,
    range="0..1",
    unit="1",
    paper="Shreyamsha Kumar 2013",
    undefined="the image is one pixel wide or high",
)
