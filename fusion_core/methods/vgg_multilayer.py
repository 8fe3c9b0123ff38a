"""Fusion of detail by several layers of VGG-19.

Li, Wu & Kittler, "Infrared and Visible Image Fusion using a Deep Learning Framework", International
Conference on Pattern Recognition (ICPR), 2018, https://doi.org/10.1109/ICPR.2018.8546006.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.filters import box_mean, nearest
from fusion_core.methods.activity import l1_norm
from fusion_core.methods.decomposition import tikhonov
from fusion_core.methods.specs.vgg_multilayer import VggMultilayerParameters, vgg_layers
from fusion_core.methods.strategies import normalise
from fusion_core.networks import FeatureExtractor, Weights


def vgg_multilayer(
    sources: Tensor, extractor: FeatureExtractor, *, smoothness: float = 5.0, radius: int = 1
) -> Tensor:
    """Average the bases; of the details, take the largest of four weighted averages.

    Args:
        sources: `(K, B, 1, H, W)` float32 in 0..255, K >= 2, any H and W.
        extractor: VGG-19 with the four layers.
        smoothness: Lambda of Eq. 1.
        radius: r of Eq. 6.

    Returns:
        `(B, 1, H, W)` float32 (Eq. 11), of no fixed range.

    >>> import torch
    >>> from fusion_core.networks.weights import Weights
    >>> layers = vgg_layers(VggMultilayerParameters())
    >>> extractor = FeatureExtractor(layers, Weights.from_seed(0), torch.device("cpu"), detail=True)
    >>> vgg_multilayer(torch.rand(2, 1, 1, 8, 9), extractor).shape
    torch.Size([1, 1, 8, 9])
    """
    base = tikhonov(sources, smoothness=smoothness)
    detail = sources - base
    weights = vgg_weights(detail, extractor, radius=radius)
    candidates = [(layer * detail).sum(dim=0) for layer in weights]  # Eq. 9
    fused_detail = candidates[0]
    for candidate in candidates[1:]:
        fused_detail = torch.maximum(fused_detail, candidate)  # Eq. 10
    return base.mean(dim=0) + fused_detail


def vgg_weights(detail: Tensor, extractor: FeatureExtractor, *, radius: int = 1) -> list[Tensor]:
    """Return the weight maps of each layer (Eq. 5-8), `(K, B, 1, H, W)`; they sum to 1 over K.

    Args:
        detail: `(K, B, 1, H, W)` float32.
        extractor: VGG-19 with the four layers.
        radius: r of Eq. 6.
    """
    count, batch = detail.shape[:2]
    size = detail.shape[-2], detail.shape[-1]
    norms = extractor.reduce(detail.flatten(0, 1), l1_norm)
    maps = []
    for norm, stride in zip(norms, extractor.strides, strict=True):
        activity = box_mean(norm.unflatten(0, (count, batch)), radius, border="zero")
        maps.append(nearest(normalise(activity), stride, size))
    return maps


def build_vgg_multilayer(
    parameters: VggMultilayerParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights are damaged, or of another network.
    """
    extractor = FeatureExtractor(
        vgg_layers(parameters),
        weights,
        device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        input_scale=parameters.input_scale,
        detail=True,
    )

    def fuse_batch(sources: Tensor) -> Tensor:
        return vgg_multilayer(
            sources, extractor, smoothness=parameters.smoothness, radius=parameters.radius
        )

    return fuse_batch
