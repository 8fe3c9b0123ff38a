"""The methods on pretrained and on Res2Net features once more, from their papers, in float64.

- `vgg_multilayer`: Li, Wu & Kittler, Infrared and Visible Image Fusion using a Deep Learning
  Framework, 2018.
- `resnet_zca`: Li, Wu & Durrani, Infrared and Visible Image Fusion with ResNet and zero-phase
  component analysis, 2019.
- `resnet152_text`: Zhang, Li, Zhu & Du, An infrared and visible image fusion algorithm based on
  ResNet-152, 2022; `resnet152`: the program of its authors.
- `res2netfuse`: Song et al., Res2NetFuse: A Fusion Method for Infrared and Visible Images.

Sources are images `(H, W)` of 0..255, the infrared one first. The equations are those of each
method's paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from support.reference_backbones import (
    RESNET_BLOCKS,
    Maps,
    State,
    VggOutput,
    convolve,
    resnet_features,
    vgg19_features,
)

Image = NDArray[np.float64]
"""One value for each pixel, `(H, W)`."""
InputScale = Literal["published", "imagenet"]
"""Divide by 255 only, or remove ImageNet's mean and deviation as well."""
Norm = Literal["l1", "l2", "nuclear"]

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])

PADDING = 16
"""Pixels around the image for the periodic solution of the base part."""
SMOOTHING_KERNEL = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
RESNET152_LAYERS = ("conv1_convolution", "conv2_1_projection", "conv3", "conv4", "conv5")
RESNET152_FACTORS = (1, 2, 4, 8, 16, 31)
"""Enlargement of the detail and of each layer; the last is not the layer's stride, 32."""
RESNET152_TEXT_LAYERS = ("conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
RES2NET_GROUPS = 4


class Fusion(NamedTuple):
    """A fused image of no fixed range, and the weights of the sources that led to it."""

    image: Image
    """`(H, W)`, neither clipped nor rounded."""
    weights: Maps
    """`(K, H, W)` for K sources; of several layers without a choice, `(layers, K, H, W)`."""


def vgg_multilayer(
    sources: Sequence[Image],
    state: State,
    *,
    output: VggOutput = "convolution",
    input_scale: InputScale = "published",
    smoothness: float = 5.0,
    radius: int = 1,
) -> Fusion:
    """Fuse smooth bases evenly, details by VGG-19; weights `(4, K, H, W)`."""
    bases = [tikhonov(source, smoothness) for source in sources]
    details = [source - base for source, base in zip(sources, bases, strict=True)]
    features = [vgg19_features(_detail(detail, input_scale), state, output) for detail in details]
    weights, candidates = [], []
    for layer, maps in enumerate(zip(*features, strict=True)):
        activities = [_block_average(_l1(each), 2 * radius + 1) for each in maps]
        upsampled = _nearest(_shares(activities), 2**layer, sources[0].shape)
        weights.append(upsampled)
        candidates.append((upsampled * np.stack(details)).sum(axis=0))
    return Fusion(np.mean(bases, axis=0) + np.max(candidates, axis=0), np.stack(weights))


def resnet_zca(
    sources: Sequence[Image],
    state: State,
    *,
    backbone: Literal["vgg19", "resnet50", "resnet101"],
    layer: str,
    norm: Norm,
    zca: bool = True,
    radius: int = 2,
    epsilon: float = 1e-5,
    input_scale: InputScale = "published",
    output: VggOutput = "convolution",
) -> Fusion:
    """Average the sources by the activity of one layer; weights `(K, H, W)`.

    `layer` is `relu1_1` to `relu4_1` for VGG-19, where `output` says whether the ReLU is applied,
    and `conv2` to `conv5` otherwise.
    """
    activities = []
    for source in sources:
        image = _whole(source, input_scale)
        if backbone == "vgg19":
            names = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
            maps = vgg19_features(image, state, output)[names.index(layer)]
        else:
            maps = resnet_features(image, state, RESNET_BLOCKS[backbone], (layer,))[0]
        activity = window_norm(whiten(maps, epsilon) if zca else maps, norm, radius)
        activities.append(np.maximum(bicubic(activity, source.shape), 0))
    weights = _shares(activities)
    return Fusion((weights * np.stack(sources)).sum(axis=0), weights)


def resnet152(
    sources: Sequence[Image],
    state: State,
    *,
    infrared_weight: float = 0.5,
    input_scale: InputScale = "published",
) -> Fusion:
    """Fuse smooth bases by fixed weights, details by ResNet-152; weights `(2, H, W)`.

    Where no layer has an activity, or none that covers the pixel, the weights are 0.
    """
    bases = [tikhonov(source, 5.0) for source in sources]
    details = [source - base for source, base in zip(sources, bases, strict=True)]
    inputs = [_detail(detail, input_scale) for detail in details]
    blocks = RESNET_BLOCKS["resnet152"]
    features = [[each, *resnet_features(each, state, blocks, RESNET152_LAYERS)] for each in inputs]
    weights = np.zeros((len(sources), *sources[0].shape))
    for factor, *maps in zip(RESNET152_FACTORS, *features, strict=True):
        squares = [_l1(each)[None] ** 2 for each in maps]
        activities = [convolve(square, SMOOTHING_KERNEL[None, None] / 16)[0] for square in squares]
        total = np.sum(activities, axis=0)
        for weight, activity in zip(weights, activities, strict=True):
            share = np.divide(activity, total, out=np.full_like(total, np.nan), where=total > 0)
            for row, column in np.ndindex(*share.shape):
                block = weight[
                    row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
                ]
                block[:] = np.fmax(block, share[row, column])
    fused_base = infrared_weight * bases[0] + (1 - infrared_weight) * bases[1]
    return Fusion(fused_base + (weights * np.stack(details)).sum(axis=0), weights)


def resnet152_text(
    sources: Sequence[Image],
    state: State,
    *,
    filter_size: int = 31,
    infrared_weight: float = 0.6,
    input_scale: InputScale = "published",
) -> Fusion:
    """Fuse mean-filtered bases by fixed weights, details by ResNet-152; weights `(K, H, W)`.

    All but the infrared source share the rest of the base evenly. The weights of a pixel are
    maxima over the layers, with no fixed sum.
    """
    bases = [mean_filter(source, filter_size) for source in sources]
    details = [source - base for source, base in zip(sources, bases, strict=True)]
    features = [
        resnet_features(
            _detail(detail, input_scale), state, RESNET_BLOCKS["resnet152"], RESNET152_TEXT_LAYERS
        )
        for detail in details
    ]
    layers = []
    for maps in zip(*features, strict=True):
        activities = [convolve(_l1(each)[None], SMOOTHING_KERNEL[None, None])[0] for each in maps]
        layers.append([bilinear(share, sources[0].shape) for share in _shares(activities)])
    weights: Maps = np.max(layers, axis=0)
    others = sum(bases[2:], start=bases[1]) / (len(bases) - 1)
    fused_base = infrared_weight * bases[0] + (1 - infrared_weight) * others
    return Fusion(fused_base + (weights * np.stack(details)).sum(axis=0), weights)


def res2netfuse(
    sources: Sequence[Image],
    state: State,
    *,
    strategy: Literal["l1_norm", "mean"],
    mean_weights: Literal["softmax", "ratio"] = "softmax",
    residual_convolutions: Literal["shared", "separate"] = "shared",
) -> Fusion:
    """Fuse the features of a Res2Net encoder and decode them; weights `(K, H, W)`."""
    separate = residual_convolutions == "separate"
    features = [_res2net_encode(source[None], state, separate) for source in sources]
    if strategy == "l1_norm":
        weights = _shares([_l1(maps) for maps in features])
    else:
        means = [maps.mean(axis=0) for maps in features]
        weights = _softmax(means) if mean_weights == "softmax" else _shares(means)
    fused: Maps = np.sum(
        [weight * maps for weight, maps in zip(weights, features, strict=True)], axis=0
    )
    for layer in ("d1", "d2", "d3"):
        fused = _res2net_layer(fused, layer, state)
    return Fusion(convolve(fused, state["d4.weight"], state["d4.bias"])[0], weights)


def tikhonov(image: Image, smoothness: float) -> Image:
    """Minimise |image - base|^2 + smoothness (|gx * base|^2 + |gy * base|^2), periodically.

    The image is continued symmetrically by 16 pixels first, the border pixel repeated.
    """
    padded = np.pad(image, PADDING, mode="symmetric")
    horizontal, vertical = np.zeros_like(padded), np.zeros_like(padded)
    horizontal[0, :2] = vertical[:2, 0] = -1, 1
    penalty = np.abs(np.fft.fft2(horizontal)) ** 2 + np.abs(np.fft.fft2(vertical)) ** 2
    base = np.fft.ifft2(np.fft.fft2(padded) / (1 + smoothness * penalty)).real
    return base[PADDING:-PADDING, PADDING:-PADDING]


def tikhonov_sparse(image: Image, smoothness: float) -> Image:
    """Solve the same problem by its normal equations, one unknown for each padded pixel."""
    padded = np.pad(image, PADDING, mode="symmetric")
    height, width = padded.shape
    horizontal = scipy.sparse.kron(scipy.sparse.eye_array(height), _cyclic_difference(width))
    vertical = scipy.sparse.kron(_cyclic_difference(height), scipy.sparse.eye_array(width))
    penalty = horizontal.T @ horizontal + vertical.T @ vertical
    system = scipy.sparse.eye_array(padded.size) + smoothness * penalty
    base = scipy.sparse.linalg.spsolve(system.tocsc(), padded.ravel()).reshape(padded.shape)
    cropped: Image = base[PADDING:-PADDING, PADDING:-PADDING]
    return cropped


def mean_filter(image: Image, size: int) -> Image:
    """Average over windows of odd size; the border pixel is repeated."""
    padded = np.pad(image, size // 2, mode="edge")
    means: Image = sliding_window_view(padded, (size, size)).mean(axis=(-2, -1))
    return means


def whiten(maps: Maps, epsilon: float, *, centred: bool = True) -> Maps:
    """Apply Eq. 3-4 to each map, less its mean if it is centred, its rows being the variables.

    The map's own singular value decomposition U s V^T yields that of Co, U s^2 U^T, without the
    rounding of a product: U (s^2 + epsilon)^(-1/2) U^T F = U s (s^2 + epsilon)^(-1/2) V^T.
    """
    means = maps.mean(axis=(1, 2), keepdims=True) if centred else 0.0
    left, values, right = np.linalg.svd(maps - means, full_matrices=False)
    whitened: Maps = (left * (values / np.sqrt(values**2 + epsilon))[:, None, :]) @ right
    return whitened


def window_norm(maps: Maps, norm: Norm, radius: int) -> Image:
    """Measure the activity in each window of 2 radius + 1 pixels, zeros around the maps.

    The vector norms of the pixels are averaged over the window; the nuclear norm is that of the
    matrix of one row for each pixel and one column for each channel (Eq. 8).
    """
    size = 2 * radius + 1
    if norm == "l1":
        return _block_average(_l1(maps), size)
    if norm == "l2":
        return _block_average(np.sqrt((maps**2).sum(axis=0)), size)
    channels, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (radius, radius), (radius, radius)))
    result = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, row : row + size, column : column + size].reshape(channels, -1).T
            result[row, column] = np.linalg.svd(window, compute_uv=False).sum()
    return result


def bicubic(image: Image, shape: Sequence[int]) -> Image:
    """Enlarge as MATLAB's imresize does: a = -0.5, half-pixel centres, the border mirrored."""
    rows, columns = (_bicubic_matrix(old, new) for old, new in zip(image.shape, shape, strict=True))
    resized: Image = rows @ image @ columns.T
    return resized


def bilinear(image: Image, shape: Sequence[int]) -> Image:
    """Enlarge with half-pixel centres; beyond the outer centres the border pixel counts."""
    rows, columns = (
        _bilinear_matrix(old, new) for old, new in zip(image.shape, shape, strict=True)
    )
    resized: Image = rows @ image @ columns.T
    return resized


def _whole(image: Image, input_scale: InputScale) -> Maps:
    """Scale an image and repeat it for three channels."""
    channels = np.stack([image / 255] * 3)
    if input_scale == "imagenet":
        channels -= IMAGENET_MEAN[:, None, None]
        channels /= IMAGENET_DEVIATION[:, None, None]
    return channels


def _detail(detail: Image, input_scale: InputScale) -> Maps:
    """Scale a difference of images, which has no mean to remove, and repeat it."""
    channels = np.stack([detail / 255] * 3)
    if input_scale == "imagenet":
        channels /= IMAGENET_DEVIATION[:, None, None]
    return channels


def _l1(maps: Maps) -> Image:
    norms: Image = np.abs(maps).sum(axis=0)
    return norms


def _shares(activities: Sequence[Image]) -> Maps:
    """Divide each activity by the sum of all; where that is 0, the weights are even."""
    stacked = np.stack(activities)
    total = np.broadcast_to(stacked.sum(axis=0), stacked.shape)
    even = np.full_like(stacked, 1 / len(activities))
    shares: Maps = np.divide(stacked, total, out=even, where=total > 0)
    return shares


def _softmax(means: Sequence[Image]) -> Maps:
    """Rescale each image by its own range, then take the soft-max over the images."""
    powers = np.stack(
        [np.exp((mean - mean.min()) / (mean.max() - mean.min() + 1e-5)) for mean in means]
    )
    weights: Maps = powers / powers.sum(axis=0)
    return weights


def _block_average(activity: Image, size: int) -> Image:
    """Average over windows of odd size, zeros around the image counted."""
    padded = np.pad(activity, size // 2)
    means: Image = sliding_window_view(padded, (size, size)).mean(axis=(-2, -1))
    return means


def _nearest(maps: Maps, factor: int, shape: Sequence[int]) -> Maps:
    """Repeat every pixel as Eq. 8 does, and cut what is beyond the image."""
    repeated = maps.repeat(factor, axis=1).repeat(factor, axis=2)
    return repeated[:, : shape[0], : shape[1]]


def _cyclic_difference(length: int) -> scipy.sparse.sparray:
    """Each pixel's right neighbour less the pixel; behind the last comes the first."""
    identity = scipy.sparse.eye_array(length, format="csr")
    return identity[[*range(1, length), 0]] - identity


def _bicubic_matrix(old: int, new: int) -> Image:
    """Weights `(new, old)` of one dimension; pixels are counted from 1 as MATLAB does."""
    scale = new / old
    mirrored = [*range(old), *reversed(range(old))]
    matrix = np.zeros((new, old))
    for target in range(1, new + 1):
        centre = target / scale + 0.5 * (1 - 1 / scale)
        taps = int(np.floor(centre)) + np.arange(-2, 4)
        weights = _keys(centre - taps.astype(np.float64))
        for tap, weight in zip(taps, weights / weights.sum(), strict=True):
            matrix[target - 1, mirrored[(tap - 1) % (2 * old)]] += weight
    return matrix


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the cubic convolution kernel of Keys with a = -0.5."""
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _bilinear_matrix(old: int, new: int) -> Image:
    """Weights `(new, old)` of one dimension."""
    matrix = np.zeros((new, old))
    for target in range(new):
        position = min(max((target + 0.5) * old / new - 0.5, 0), old - 1)
        lower = int(position)
        matrix[target, lower] += 1 - (position - lower)
        matrix[target, min(lower + 1, old - 1)] += position - lower
    return matrix


def _res2net_encode(image: Maps, state: State, separate: bool) -> Maps:
    maps = _res2net_layer(_res2net_layer(image, "c1", state), "c2", state)
    first, *others = np.split(_res2net_layer(maps, "r1", state), RES2NET_GROUPS)
    outputs = [first]
    for number, group in enumerate(others, start=2):
        output = group if number == 2 else outputs[-1] + group
        for part in (1, 2):
            layer = f"split{number}_{part}" if separate else "split"
            output = _res2net_layer(output, layer, state)
        outputs.append(output)
    return maps + _res2net_layer(np.concatenate(outputs), "r2", state)


def _res2net_layer(maps: Maps, name: str, state: State) -> Maps:
    """Convolve and apply the ReLU."""
    return np.maximum(convolve(maps, state[f"{name}.weight"], state[f"{name}.bias"]), 0)
