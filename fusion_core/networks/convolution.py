"""Convolutions with padding, activation and sums, in few passes over memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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


def speed_up_pointwise(module: nn.Module) -> None:
    """Replace the 1x1 convolutions inside a module by `PointwiseConv2d`, for inference only."""
    if not torch.backends.mkldnn.is_available():
        return
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size == (1, 1) and child.groups == 1:
            setattr(module, name, PointwiseConv2d(child))
        else:
            speed_up_pointwise(child)


def relu_and_reflect(features: Tensor) -> Tensor:
    """Apply ReLU and add a border of one reflected pixel; a single row or column is repeated.

    Args:
        features: `(B, C, H, W)`, not used afterwards.

    Returns:
        `(B, C, H + 2, W + 2)`.
    """
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
