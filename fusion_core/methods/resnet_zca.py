"""Fusion by whitened ResNet features.

Li, Wu & Durrani, "Infrared and visible image fusion with ResNet and zero-phase component analysis",
Infrared Physics & Technology, 2019, https://doi.org/10.1016/j.infrared.2019.103039.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fusion_core.choices import Norm
from fusion_core.filters import bicubic
from fusion_core.methods.activity import activity_norm
from fusion_core.methods.specs.resnet_zca import ResnetZcaParameters, zca_layers
from fusion_core.methods.strategies import normalise
from fusion_core.methods.whitening import whiten
from fusion_core.networks import FeatureExtractor, Weights

_PART_ELEMENTS = {"cpu": 1024 * 1024, "cuda": 64 * 1024 * 1024}
"""Feature elements that are whitened at a time."""


def resnet_zca(
    sources: Tensor,
    extractor: FeatureExtractor,
    *,
    norm: Norm = "l1",
    zca: bool = True,
    radius: int = 2,
    epsilon: float = 1e-5,
    centred: bool = True,
) -> Tensor:
    """Average the sources with weights from the norm of their whitened deep features.

    Args:
        sources: `(K, B, 1, H, W)` float32 in 0..255, K >= 2, any H and W.
        extractor: A network with one layer.
        norm: Norm of the activity map.
        zca: Whether features are whitened.
        radius: Window radius t.
        epsilon: Added to the eigenvalues.
        centred: Whether the mean of each channel is removed before it is whitened.

    Returns:
        `(B, 1, H, W)` float32 (Eq. 7), within the range of the sources.

    >>> import torch
    >>> from fusion_core.networks.weights import Weights
    >>> layers = zca_layers(ResnetZcaParameters(layer="conv2"))
    >>> extractor = FeatureExtractor(layers, Weights.from_seed(0), torch.device("cpu"))
    >>> resnet_zca(torch.rand(3, 1, 1, 8, 9), extractor, norm="nuclear").shape
    torch.Size([1, 1, 8, 9])
    """
    weights = zca_weights(
        sources, extractor, norm=norm, zca=zca, radius=radius, epsilon=epsilon, centred=centred
    )
    return (weights * sources).sum(dim=0)


def zca_weights(
    sources: Tensor,
    extractor: FeatureExtractor,
    *,
    norm: Norm = "l1",
    zca: bool = True,
    radius: int = 2,
    epsilon: float = 1e-5,
    centred: bool = True,
    part_elements: int | None = None,
) -> Tensor:
    """Return the weight maps (Eq. 3-6, 8), `(K, B, 1, H, W)`, which sum to 1 over K.

    Where bicubic resizing makes an activity negative, it counts as 0; the released code keeps the
    negative value.

    Args:
        sources: `(K, B, 1, H, W)` float32 in 0..255, K >= 2, any H and W.
        extractor: A network with one layer.
        norm: Norm of the activity map.
        zca: Whether features are whitened.
        radius: Window radius t.
        epsilon: Added to the eigenvalues.
        centred: Whether the mean of each channel is removed before it is whitened.
        part_elements: Feature elements that are whitened at a time; the default depends on the
            device.
    """
    count, batch = sources.shape[:2]
    images = sources.flatten(0, 1)
    if zca:
        elements = part_elements or _PART_ELEMENTS.get(images.device.type, _PART_ELEMENTS["cpu"])
        whitening = partial(whiten, epsilon=epsilon, centred=centred)
        activity = _whitened_activity(images, extractor, norm, radius, whitening, elements)
    else:
        activity = _plain_activity(images, extractor, norm, radius)
    resized = bicubic(activity.float(), (sources.shape[-2], sources.shape[-1])).clamp_min(0.0)
    return normalise(resized.unflatten(0, (count, batch)).unsqueeze(2))


def _plain_activity(images: Tensor, extractor: FeatureExtractor, norm: Norm, radius: int) -> Tensor:
    """Return the activity maps `(N, h, w)` of features without whitening."""
    steps = activity_norm(norm, radius)
    [sums] = extractor.reduce(images, steps.collect, radius=2 * radius)
    return steps.finish(sums)


def _whitened_activity(
    images: Tensor,
    extractor: FeatureExtractor,
    norm: Norm,
    radius: int,
    whitening: Callable[[Tensor], Tensor],
    elements: int,
) -> Tensor:
    """Return the activity maps `(N, h, w)` of whitened features, some channels at a time."""
    steps = activity_norm(norm, radius)
    [features] = extractor.reduce(images, lambda maps: maps)
    channels = max(1, elements // features[:, :1].numel())
    total: Tensor | None = None
    for part in features.split(channels, dim=1):
        sums = steps.collect(whitening(part))
        total = sums if total is None else total + sums
    assert total is not None
    return steps.finish(total)


def build_resnet_zca(
    parameters: ResnetZcaParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the network onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The weights are damaged, or of another network.
    """
    extractor = FeatureExtractor(
        zca_layers(parameters),
        weights,
        device,
        precision=parameters.precision,
        convolution=parameters.convolution,
        input_scale=parameters.input_scale,
    )

    def fuse_batch(sources: Tensor) -> Tensor:
        return resnet_zca(
            sources,
            extractor,
            norm=parameters.norm,
            zca=parameters.zca,
            radius=parameters.radius,
            epsilon=parameters.epsilon,
            centred=parameters.centred,
        )

    return fuse_batch
