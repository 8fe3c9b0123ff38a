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

CHANNELS: dict[str, tuple[int, ...]] = {
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


def random_tensors(seed: int, shapes: dict[str, tuple[int, ...]] = CHANNELS) -> Tensors:
    """Draw weights that keep the range of the maps, and biases that matter.

    Args:
        seed: Seed of the weights.
        shapes: Layer to channels in and out, and side of the filters if it is not 3.
    """
    generator = np.random.default_rng(seed)
    tensors = {}
    for layer, (inputs, outputs, *sides) in shapes.items():
        side = sides[0] if sides else 3
        deviation = (2 / (side**2 * inputs)) ** 0.5
        weight = generator.normal(0, deviation, (outputs, inputs, side, side))
        tensors[f"{layer}.weight"] = weight.astype(np.float32)
        tensors[f"{layer}.bias"] = generator.normal(0, 10, outputs).astype(np.float32)
    return tensors


def densefuse(
    sources: list[NDArray[np.uint8]], tensors: Tensors, strategy: str, radius: int = 1
) -> NDArray[np.float64]:
    """Fuse `(H, W)` images; the result `(H, W)` is of no fixed range."""
    features = [encode(image[None].astype(np.float64), tensors) for image in sources]
    if strategy == "l1_norm":
        fused = l1_norm(features, radius)
    else:
        fused = sum(features[1:], start=features[0])
        fused = fused / len(features) if strategy == "mean" else fused
    for layer in ("c2", "c3", "c4"):
        fused = np.maximum(convolve(fused, layer, tensors), 0)
    image: NDArray[np.float64] = convolve(fused, "c5", tensors)[0]
    return image


def minmax(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rescale by the image's own range to 0..255 and round half up."""
    scaled = (image - image.min()) / (image.max() - image.min()) * 255
    rounded: NDArray[np.uint8] = np.floor(scaled + 0.5).astype(np.uint8)
    return rounded


def encode(image: Maps, tensors: Tensors) -> Maps:
    """Map an image `(1, H, W)` to the 64 maps of the dense block."""
    first = np.maximum(convolve(image, "c1", tensors), 0)
    second = np.maximum(convolve(first, "dc1", tensors), 0)
    third = np.maximum(convolve(np.concatenate([first, second]), "dc2", tensors), 0)
    fourth = np.maximum(convolve(np.concatenate([first, second, third]), "dc3", tensors), 0)
    return np.concatenate([first, second, third, fourth])


def convolve(maps: Maps, layer: str, tensors: Tensors) -> Maps:
    """Convolve `(C, H, W)` with the filters of a layer, with reflection at the borders."""
    weight, bias = (tensors[f"{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    height, width = maps.shape[1:]
    side = weight.shape[-1]
    rows, columns = _reflected(height, side // 2), _reflected(width, side // 2)
    result = np.repeat(bias, height * width).reshape(-1, height, width)
    for y in range(side):
        for x in range(side):
            shifted = maps[:, rows[y : y + height]][:, :, columns[x : x + width]]
            result += np.einsum("oi,ihw->ohw", weight[:, :, y, x], shifted)
    return result


def _reflected(length: int, border: int) -> list[int]:
    """Indices of a row with reflected pixels at each end; a single pixel is repeated."""
    period = max(1, 2 * length - 2)
    return [min(i % period, period - i % period) for i in range(-border, length + border)]


def l1_norm(features: list[Maps], radius: int) -> Maps:
    """Average feature maps, weighted by their magnitude in blocks."""
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
