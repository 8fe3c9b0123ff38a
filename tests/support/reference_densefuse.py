"""DenseFuse once more, from its paper: NumPy in float64, one feature map after the other.

Li & Wu, DenseFuse: A Fusion Approach to Infrared and Visible Images, 2019, Table I and Eq. 4-7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float64]
"""Feature maps `(C, H, W)`."""
Tensors = dict[str, NDArray[np.float32]]
"""`c1.weight`, `c1.bias` and so on."""

CHANNELS = {
    "c1": (1, 16),
    "dc1": (16, 16),
    "dc2": (32, 16),
    "dc3": (48, 16),
    "c2": (64, 64),
    "c3": (64, 32),
    "c4": (32, 16),
    "c5": (16, 1),
}
"""Layer to channels in and out."""


def random_tensors(seed: int) -> Tensors:
    """Draw weights that keep the range of the maps, and biases that matter."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for layer, (inputs, outputs) in CHANNELS.items():
        weight = generator.normal(0, (2 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3))
        tensors[f"{layer}.weight"] = weight.astype(np.float32)
        tensors[f"{layer}.bias"] = generator.normal(0, 10, outputs).astype(np.float32)
    return tensors


def densefuse(
    sources: list[NDArray[np.uint8]], tensors: Tensors, strategy: str, radius: int = 1
) -> NDArray[np.float64]:
    """Fuse `(H, W)` images; the result `(H, W)` is of no fixed range."""
    features = [_encode(image[None].astype(np.float64), tensors) for image in sources]
    if strategy == "l1_norm":
        fused = _l1_norm(features, radius)
    else:
        fused = sum(features[1:], start=features[0])
        fused = fused / len(features) if strategy == "mean" else fused
    for layer in ("c2", "c3", "c4"):
        fused = np.maximum(_convolve(fused, layer, tensors), 0)
    image: NDArray[np.float64] = _convolve(fused, "c5", tensors)[0]
    return image


def minmax(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rescale by the image's own range to 0..255 and round half up."""
    scaled = (image - image.min()) / (image.max() - image.min()) * 255
    rounded: NDArray[np.uint8] = np.floor(scaled + 0.5).astype(np.uint8)
    return rounded


def _encode(image: Maps, tensors: Tensors) -> Maps:
    first = np.maximum(_convolve(image, "c1", tensors), 0)
    second = np.maximum(_convolve(first, "dc1", tensors), 0)
    third = np.maximum(_convolve(np.concatenate([first, second]), "dc2", tensors), 0)
    fourth = np.maximum(_convolve(np.concatenate([first, second, third]), "dc3", tensors), 0)
    return np.concatenate([first, second, third, fourth])


def _convolve(maps: Maps, layer: str, tensors: Tensors) -> Maps:
    weight, bias = (tensors[f"{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    height, width = maps.shape[1:]
    rows, columns = _reflected(height), _reflected(width)
    result = np.repeat(bias, height * width).reshape(-1, height, width)
    for y in range(3):
        for x in range(3):
            shifted = maps[:, rows[y : y + height]][:, :, columns[x : x + width]]
            result += np.einsum("oi,ihw->ohw", weight[:, :, y, x], shifted)
    return result


def _reflected(length: int) -> list[int]:
    """Indices of a row with one reflected pixel at each end; a single pixel is repeated."""
    return [min(1, length - 1), *range(length), max(0, length - 2)]


def _l1_norm(features: list[Maps], radius: int) -> Maps:
    activities = [_block_average(np.abs(maps).sum(axis=0), radius) for maps in features]
    total = sum(activities[1:], start=activities[0])
    even = 1 / len(features)
    fused = np.zeros_like(features[0])
    for maps, activity in zip(features, activities, strict=True):
        fused += np.divide(activity, total, out=np.full_like(total, even), where=total > 0) * maps
    return fused


def _block_average(activity: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Average over blocks; the border pixel is repeated."""
    height, width = activity.shape
    offsets = np.arange(-radius, radius + 1)
    result = np.empty_like(activity)
    for row in range(height):
        for column in range(width):
            rows = np.clip(row + offsets, 0, height - 1)
            columns = np.clip(column + offsets, 0, width - 1)
            result[row, column] = activity[np.ix_(rows, columns)].mean()
    return result
