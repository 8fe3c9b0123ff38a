"""Convolutions with padding, activation and sums, in few passes over memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_core.choices import Convolution
from fusion_core.networks.winograd import WinogradConv2d, can_transform


class PointwiseConv2d(nn.Module):
    """A 1x1 convolution by oneDNN.

    With one thread torch computes 1x1 convolutions of few images with its own implementation, which
    takes two to four times as long.

    Args:
        convolution: Convolution whose parameters are shared; stride 1 or more, no padding.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, features: Tensor) -> Tensor:
        """Convolve `(N, C, H, W)` to `(N, D, ceil(H / stride), ceil(W / stride))`."""
        layer = self.convolution
        if features.device.type != "cpu" or features.dtype != torch.float32:
            return layer(features)  # type: ignore[no-any-return]
        return torch.mkldnn_convolution(
            features, layer.weight, layer.bias, (0, 0), layer.stride, (1, 1), 1
        )


def speed_up_convolutions(module: nn.Module, convolution: Convolution = "winograd") -> nn.Module:
    """Replace convolutions in a module by faster ones on a CPU, for inference only.

    Args:
        module: The module, on its device and of its type.
        convolution: Algorithm of 3x3 convolutions.

    Returns:
        The module, or its replacement if it is a convolution itself.
    """
    if isinstance(module, nn.Conv2d):
        if convolution == "winograd" and can_transform(module):
            return WinogradConv2d(module)
        if module.kernel_size == (1, 1) and module.groups == 1 and _has_onednn():
            return PointwiseConv2d(module)
    for name, child in module.named_children():
        setattr(module, name, speed_up_convolutions(child, convolution))
    return module


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())


def convolve_and_rectify(layer: nn.Module, features: Tensor) -> Tensor:
    """Convolve, apply ReLU, and add a border of one reflected pixel.

    Args:
        layer: 3x3 convolution without padding.
        features: `(B, C, H + 2, W + 2)`.

    Returns:
        `(B, K, H + 2, W + 2)`; the border of a single row or column repeats it.
    """
    if not (isinstance(layer, WinogradConv2d) and layer.takes(features)):
        return _relu_and_reflect(layer(features))
    batch, _, height, width = features.shape
    padded = torch.empty(
        (batch, layer.out_channels, height, width), memory_format=torch.channels_last
    )
    layer.rectify_into(features, padded[..., 1:-1, 1:-1])
    return _reflect_inside(padded)


def convolve_densely(
    layers: Sequence[nn.Module], images: Tensor, *, newest_first: bool = False
) -> Tensor:
    """Convolve by a dense block: each layer after the first reads the maps of all before it.

    Args:
        layers: 3x3 convolutions without padding, each followed by ReLU.
        images: Input of the first layer, `(B, C, H + 2, W + 2)`.
        newest_first: Whether the maps of a layer come before those of earlier layers.

    Returns:
        The maps of all layers, `(B, K, H + 2, W + 2)`, with a border of one reflected pixel.
    """
    first, *others = layers
    features = first(images)
    fast = [layer for layer in others if isinstance(layer, WinogradConv2d)]
    if len(fast) == len(others) and all(layer.takes(features) for layer in fast):
        return _convolve_in_place(features, fast, newest_first=newest_first)
    maps = _relu_and_reflect(features)
    for layer in others:
        pair = maps, convolve_and_rectify(layer, maps)
        maps = torch.cat(pair[::-1] if newest_first else pair, dim=1)
    return maps


def _convolve_in_place(
    features: Tensor, layers: Sequence[WinogradConv2d], *, newest_first: bool
) -> Tensor:
    """Continue a dense block after its first convolution, all of whose maps lie in one tensor."""
    batch, channels, height, width = features.shape
    total = channels + sum(layer.out_channels for layer in layers)
    maps = torch.empty((batch, total, height + 2, width + 2), memory_format=torch.channels_last)
    start = total - channels if newest_first else 0
    done = maps[:, start : start + channels]
    torch.clamp_min(features, 0.0, out=done[..., 1:-1, 1:-1])
    _reflect_inside(done)
    for layer in layers:
        added = layer.out_channels
        end = start + done.shape[1]
        part = maps[:, start - added : start] if newest_first else maps[:, end : end + added]
        layer.rectify_into(done, part[..., 1:-1, 1:-1])
        _reflect_inside(part)
        start -= added if newest_first else 0
        done = maps[:, start : start + done.shape[1] + added]
    return maps


def _relu_and_reflect(features: Tensor) -> Tensor:
    """Apply ReLU to `(B, C, H, W)`, which is not used afterwards, and add a reflected border."""
    if features.requires_grad:
        return reflect(features.relu())
    batch, channels, height, width = features.shape
    layout = (
        torch.channels_last
        if features.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    padded = torch.empty(
        (batch, channels, height + 2, width + 2),
        dtype=features.dtype,
        device=features.device,
        memory_format=layout,
    )
    torch.clamp_min(features, 0.0, out=padded[..., 1:-1, 1:-1])
    return _reflect_inside(padded)


def _reflect_inside(padded: Tensor) -> Tensor:
    """Fill the border of `(B, C, H + 2, W + 2)` from the pixels inside."""
    height, width = (side - 2 for side in padded.shape[-2:])
    rows = padded[..., 1:-1, :]
    rows[..., 0] = rows[..., min(2, width)]
    rows[..., -1] = rows[..., max(width - 1, 1)]
    padded[..., 0, :] = padded[..., min(2, height), :]
    padded[..., -1, :] = padded[..., max(height - 1, 1), :]
    return padded


def reflect(features: Tensor) -> Tensor:
    """Add a border of one reflected pixel to `(B, C, H, W)`; a single row or column is repeated."""
    height, width = features.shape[-2:]
    features = functional.pad(features, (1, 1, 0, 0), mode="reflect" if width > 1 else "replicate")
    return functional.pad(features, (0, 0, 1, 1), mode="reflect" if height > 1 else "replicate")


def weighted_sum(weights: Tensor | None, features: Tensor) -> Tensor:
    """Sum features over the sources, one by one: `sum(dim=0)` is slow where channels lie last.

    Args:
        weights: `(K, B, 1, H, W)`, or None for 1.
        features: `(K, B, C, H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    first, *others = features.unbind(0)
    if weights is None:
        total = first
        for source in others:
            total = total + source
        return total
    weights = weights.to(features.dtype)
    total = weights[0] * first
    for weight, source in zip(weights[1:], others, strict=True):
        total = torch.addcmul(total, weight, source)
    return total
