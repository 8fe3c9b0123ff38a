"""Fusion of detail by the features of ResNet-152.

Zhang, Li, Zhu & Du, "An infrared and visible image fusion algorithm based on ResNet-152",
Multimedia Tools and Applications, 2022, https://doi.org/10.1007/s11042-021-11549-w.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.errors import InvalidValueError
from fusion_core.filters import bilinear
from fusion_core.methods.activity import l1_norm
from fusion_core.methods.decomposition import mean_filter
from fusion_core.methods.specs.resnet152 import Resnet152Parameters, resnet152_layers
from fusion_core.methods.strategies import normalise
from fusion_core.networks import FeatureExtractor, Weights, constant

_KERNEL = (1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0)
"""A of Eq. 6."""


def resnet152(
    sources: Tensor,
    extractor: FeatureExtractor,
    *,
    filter_size: int = 31,
    infrared_weight: float = 0.6,
) -> Tensor:
    """Average the bases, and add each detail with the largest of its five weights.

    Args:
        sources: `(2, B, 1, H, W)` float32 in 0..255, infrared and visible, any H and W.
        extractor: ResNet-152 with the five layers.
        filter_size: Side of the mean filter.
        infrared_weight: lambda_1 of Eq. 3; lambda_2 is the rest.

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
    if len(sources) != 2:
        raise InvalidValueError(f"resnet152 is defined for 2 sources, but got {len(sources)}")
    base = mean_filter(sources, size=filter_size)
    detail = sources - base
    weights = resnet152_weights(detail, extractor)
    fused_base = infrared_weight * base[0] + (1.0 - infrared_weight) * base[1]
    return fused_base + (weights * detail).sum(dim=0)


def resnet152_weights(detail: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Return the weight maps (Eq. 5-9), `(K, B, 1, H, W)`.

    Args:
        detail: `(K, B, 1, H, W)` float32.
        extractor: ResNet-152 with the five layers.

    The paper gives the layers 64 to 1024 channels; those of ResNet-152 have 64 to 2048. Pixels
    beyond the border of a map count as 0 in the convolution with A, of which it says nothing.
    """
    count, batch = detail.shape[:2]
    size = detail.shape[-2], detail.shape[-1]
    kernel = constant(_KERNEL, detail.device).view(1, 1, 3, 3)
    largest: Tensor | None = None
    for norm in extractor.reduce(detail.flatten(0, 1), l1_norm):
        activity = functional.conv2d(norm, kernel, padding=1)
        weights = normalise(activity.unflatten(0, (count, batch)))
        enlarged = bilinear(weights.squeeze(2), size).unsqueeze(2)
        largest = enlarged if largest is None else torch.maximum(largest, enlarged)
    assert largest is not None
    return largest


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
        input_scale=parameters.input_scale,
        detail=True,
    )

    def fuse_batch(sources: Tensor) -> Tensor:
        return resnet152(
            sources,
            extractor,
            filter_size=parameters.filter_size,
            infrared_weight=parameters.infrared_weight,
        )

    return fuse_batch
