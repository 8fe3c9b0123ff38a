"""VGG-19 and ResNet once more: forward passes in NumPy, float64, one image at a time.

Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014, and
He et al., Deep Residual Learning for Image Recognition, 2016. The names of the tensors, and the
stride of a bottleneck in its 3x3 convolution, are those of torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Maps = NDArray[np.float64]
"""Feature maps `(C, H, W)`."""
State = Mapping[str, NDArray[np.floating[Any]]]
"""Tensors by name; each is cast to float64 when it is used."""
VggOutput = Literal["convolution", "relu"]
"""Whether a map is taken before or after its ReLU."""

VGG19_BLOCKS = ((0, 2), (5, 7), (10, 12, 14, 16), (19,))
"""Number of each convolution in `features`, as far as conv4_1; a pooling separates two blocks."""
RESNET_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
"""Bottlenecks of layer1 to layer4."""
BATCH_NORM_EPSILON = 1e-5


def vgg19_features(image: Maps, state: State, output: VggOutput) -> list[Maps]:
    """Compute conv1_1, conv2_1, conv3_1 and conv4_1 of an image `(3, H, W)`.

    The pooling keeps a last odd row or column: n pixels become ceil(n / 2).
    """
    found = []
    maps = image
    for number, (first, *others) in enumerate(VGG19_BLOCKS):
        maps = _vgg_convolution(_halve(maps) if number else maps, state, first)
        found.append(maps if output == "convolution" else _relu(maps))
        maps = _relu(maps)
        for index in others:
            maps = _relu(_vgg_convolution(maps, state, index))
    return found


def resnet_features(
    image: Maps, state: State, blocks: Sequence[int], layers: Sequence[str]
) -> list[Maps]:
    """Compute the named layers of an image `(3, H, W)`, in the order of the names.

    `conv1_convolution` is taken before its batch normalisation, `conv1` after its ReLU; `conv2` to
    `conv5` are the outputs of layer1 to layer4, `conv2_1` to `conv5_1` those of their first
    bottlenecks, and `conv2_1_projection` to `conv5_1_projection` the convolutions of these
    bottlenecks' shortcuts. Nothing behind the last is computed.
    """
    found: dict[str, Maps] = {}
    for name, maps in _resnet_layers(image, state, blocks):
        if name in layers:
            found[name] = maps
        if len(found) == len(set(layers)):
            break
    return [found[name] for name in layers]


def convolve(
    maps: Maps,
    weight: NDArray[np.floating[Any]],
    bias: NDArray[np.floating[Any]] | None = None,
    stride: int = 1,
) -> Maps:
    """Correlate maps `(C, H, W)` with `(O, C, n, n)`, n odd, n // 2 zeros around the maps."""
    outputs, size = weight.shape[0], weight.shape[2]
    windows = _windows(maps, size, stride, fill=0)
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(weight[0].size, -1)
    result: Maps = weight.astype(np.float64).reshape(outputs, -1) @ columns
    if bias is not None:
        result = result + bias.astype(np.float64)[:, None]
    return result.reshape(outputs, *windows.shape[1:3])


def _vgg_convolution(maps: Maps, state: State, index: int) -> Maps:
    return convolve(maps, state[f"features.{index}.weight"], state[f"features.{index}.bias"])


def _resnet_layers(image: Maps, state: State, blocks: Sequence[int]) -> Iterator[tuple[str, Maps]]:
    maps = convolve(image, state["conv1.weight"], stride=2)
    yield "conv1_convolution", maps
    maps = _relu(_batch_norm(maps, state, "bn1"))
    yield "conv1", maps
    maps = _windows(maps, 3, 2, fill=-np.inf).max(axis=(-2, -1))
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            if block == 0:
                weight = state[f"layer{stage}.0.downsample.0.weight"]
                yield f"conv{stage + 1}_1_projection", convolve(maps, weight, stride=stride)
            maps = _bottleneck(maps, state, f"layer{stage}.{block}", stride)
            if block == 0:
                yield f"conv{stage + 1}_1", maps
        yield f"conv{stage + 1}", maps


def _bottleneck(maps: Maps, state: State, name: str, stride: int) -> Maps:
    shortcut = maps
    if f"{name}.downsample.0.weight" in state:
        shortcut = convolve(maps, state[f"{name}.downsample.0.weight"], stride=stride)
        shortcut = _batch_norm(shortcut, state, f"{name}.downsample.1")
    for part in (1, 2, 3):
        weight = state[f"{name}.conv{part}.weight"]
        maps = convolve(maps, weight, stride=stride if part == 2 else 1)
        maps = _batch_norm(maps, state, f"{name}.bn{part}")
        maps = _relu(maps) if part < 3 else maps
    return _relu(maps + shortcut)


def _batch_norm(maps: Maps, state: State, name: str) -> Maps:
    """Normalise by the stored statistics."""
    weight, bias, mean, variance = (
        state[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    normalised: Maps = (maps - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) * weight + bias
    return normalised


def _halve(maps: Maps) -> Maps:
    """Take the maximum of 2x2 pixels, at an odd end of those there are."""
    channels, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (0, height % 2), (0, width % 2)), constant_values=-np.inf)
    rows, columns = padded.shape[1] // 2, padded.shape[2] // 2
    maxima: Maps = padded.reshape(channels, rows, 2, columns, 2).max(axis=(2, 4))
    return maxima


def _windows(maps: Maps, size: int, stride: int, fill: float) -> Maps:
    """Collect the windows around every `stride`-th pixel: `(C, rows, columns, size, size)`."""
    margin = (size // 2, size // 2)
    padded = np.pad(maps, ((0, 0), margin, margin), constant_values=fill)
    return sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def _relu(maps: Maps) -> Maps:
    return np.maximum(maps, 0)
