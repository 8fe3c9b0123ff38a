"""Fusion of detail by the features of ResNet-152, by the authors' program or their text.

Zhang, Li, Zhu & Du, "An infrared and visible image fusion algorithm based on ResNet-152",
Multimedia Tools and Applications, 2022, https://doi.org/10.1007/s11042-021-11549-w.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.errors import InvalidValueError
from fusion_core.filters import bilinear, nearest
from fusion_core.methods.activity import l1_norm
from fusion_core.methods.decomposition import mean_filter, tikhonov
from fusion_core.methods.specs.resnet152 import Resnet152Parameters, resnet152_layers
from fusion_core.methods.strategies import normalise
from fusion_core.networks import FeatureExtractor, Weights, constant

_KERNEL = (1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0)
"""A of Eq. 6; its sum does not matter, because activities are divided by their sum over sources."""
_ENLARGEMENT = {32: 31}
"""Strides of layers that the authors' program enlarges by another factor."""


def resnet152(
    sources: Tensor, extractor: FeatureExtractor, *, infrared_weight: float = 0.5
) -> Tensor:
    """Average the bases, and add each detail with the largest of its six weights.

    This is what the program does from which the published pictures and scores come
    (https://github.com/diylife/imagefusion_deeplearning); `resnet152_text` is what the paper says.

    Args:
        sources: `(2, B, 1, H, W)` float32 in 0..255, infrared and visible, any H and W.
        extractor: ResNet-152 with the five layers of the variant `published`.
        infrared_weight: Weight of the infrared base; that of the visible base is the rest.

    Returns:
        `(B, 1, H, W)` float32 (Eq. 11), of no fixed range: the weights of the details, each the
        maximum over layers, sum to 1 or more.

    Raises:
        InvalidValueError: There are not two sources.

    >>> import torch
    >>> from fusion_core.networks.weights import Weights
    >>> layers = resnet152_layers(Resnet152Parameters())
    >>> extractor = FeatureExtractor(layers, Weights.from_seed(0), torch.device("cpu"), detail=True)
    >>> resnet152(torch.rand(2, 1, 1, 8, 9), extractor).shape
    torch.Size([1, 1, 8, 9])
    """
    _check_count(sources)
    base = tikhonov(sources)
    detail = sources - base
    return _add(base, detail, resnet152_weights(detail, extractor), infrared_weight)


def resnet152_weights(detail: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Return the weight maps of `resnet152`, `(K, B, 1, H, W)`; 0 where there is no activity.

    Args:
        detail: `(K, B, 1, H, W)` float32.
        extractor: ResNet-152 with the five layers of the variant `published`.

    Unlike the text (Eq. 5-9), the detail itself is the first of six layers, the norms are squared,
    and weights are enlarged by repetition, those of the last layer by 31 instead of 32: pixels that
    they do not reach have the weights of the other layers.

    The names in the program leave open whether `conv1` and `res2a_branch1` are read before or after
    their batch normalisation. They are read before it: in the network that the program loads, a
    name such as these is the output of the convolution, and what follows has names of its own.
    """
    count, batch = detail.shape[:2]
    size = detail.shape[-2], detail.shape[-1]
    norms = [detail.flatten(0, 1).abs(), *extractor.reduce(detail.flatten(0, 1), l1_norm)]
    largest = torch.zeros_like(detail)
    for norm, stride in zip(norms, (1, *extractor.strides), strict=True):
        activity = _smooth(norm.square()).unflatten(0, (count, batch))
        total = activity.sum(dim=0)
        weights = torch.where(total > 0, activity / total, 0.0)
        enlarged = nearest(weights, _ENLARGEMENT.get(stride, stride), size)
        reached = largest[..., : enlarged.shape[-2], : enlarged.shape[-1]]
        torch.maximum(reached, enlarged, out=reached)
    return largest


def resnet152_text(
    sources: Tensor,
    extractor: FeatureExtractor,
    *,
    filter_size: int = 31,
    infrared_weight: float = 0.6,
) -> Tensor:
    """Average the bases, and add each detail with the largest of its five weights, as Eq. 1-11 do.

    Args:
        sources: `(2, B, 1, H, W)` float32 in 0..255, infrared and visible, any H and W.
        extractor: ResNet-152 with the five layers of the variant `text`.
        filter_size: Side of the mean filter.
        infrared_weight: lambda_1 of Eq. 3; lambda_2 is the rest.

    Returns:
        `(B, 1, H, W)` float32 (Eq. 11), of no fixed range, as that of `resnet152`.

    Raises:
        InvalidValueError: There are not two sources.

    >>> import torch
    >>> from fusion_core.networks.weights import Weights
    >>> layers = resnet152_layers(Resnet152Parameters(variant="text"))
    >>> extractor = FeatureExtractor(layers, Weights.from_seed(0), torch.device("cpu"), detail=True)
    >>> resnet152_text(torch.rand(2, 1, 1, 8, 9), extractor).shape
    torch.Size([1, 1, 8, 9])
    """
    _check_count(sources)
    base = mean_filter(sources, size=filter_size)
    detail = sources - base
    return _add(base, detail, resnet152_text_weights(detail, extractor), infrared_weight)


def resnet152_text_weights(detail: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Return the weight maps of `resnet152_text` (Eq. 5-9), `(K, B, 1, H, W)`.

    Args:
        detail: `(K, B, 1, H, W)` float32.
        extractor: ResNet-152 with the five layers of the variant `text`.

    The paper gives the layers 64 to 1024 channels; those of ResNet-152 have 64 to 2048. Pixels
    beyond the border of a map count as 0 in the convolution with A, of which it says nothing.
    """
    count, batch = detail.shape[:2]
    size = detail.shape[-2], detail.shape[-1]
    largest: Tensor | None = None
    for norm in extractor.reduce(detail.flatten(0, 1), l1_norm):
        weights = normalise(_smooth(norm).unflatten(0, (count, batch)))
        enlarged = bilinear(weights.squeeze(2), size).unsqueeze(2)
        largest = enlarged if largest is None else torch.maximum(largest, enlarged)
    assert largest is not None
    return largest


def _check_count(sources: Tensor) -> None:
    if len(sources) != 2:
        raise InvalidValueError(f"resnet152 is defined for 2 sources, but got {len(sources)}")


def _smooth(norms: Tensor) -> Tensor:
    """Convolve the norms of a layer, `(N, 1, h, w)`, with A; beyond the border there are zeros."""
    kernel = constant(_KERNEL, norms.device).view(1, 1, 3, 3)
    return functional.conv2d(norms, kernel, padding=1)


def _add(base: Tensor, detail: Tensor, weights: Tensor, infrared_weight: float) -> Tensor:
    """Add the details with their weights to the average of the bases (Eq. 3, 10 and 11)."""
    fused_base = infrared_weight * base[0] + (1.0 - infrared_weight) * base[1]
    return fused_base + (weights * detail).sum(dim=0)


def build_resnet152(
    parameters: Resnet152Parameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights are damaged, or of another network.
    """
    extractor = FeatureExtractor(
        resnet152_layers(parameters),
        weights,
        device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        input_scale=parameters.input_scale,
        detail=True,
    )

    weight = parameters.infrared_weight
    if parameters.variant == "published":
        return partial(resnet152, extractor=extractor, infrared_weight=weight)
    size = parameters.filter_size
    return partial(resnet152_text, extractor=extractor, filter_size=size, infrared_weight=weight)
