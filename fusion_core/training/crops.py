"""Square samples for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize_image(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a gray image `(H, W)` uint8 to a square, whatever its proportions.

    Returns:
        `(side, side)`, by Pillow's antialiased bicubic filter.
    """
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def crop_image(
    image: NDArray[np.uint8], side: int, generator: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Crop a square from a gray image, or the same square from each image of a pair.

    Args:
        image: `(..., H, W)` uint8; enlarged first if it is smaller than the square.
        side: Side of the square in pixels.
        generator: Draws the position; without it, the center is cropped.

    Returns:
        `(..., side, side)`.
    """
    image = _enlarge(image, side)
    height, width = image.shape[-2:]
    if generator is None:
        top, left = (height - side) // 2, (width - side) // 2
    else:
        top = int(generator.integers(height - side + 1))
        left = int(generator.integers(width - side + 1))
    return np.ascontiguousarray(image[..., top : top + side, left : left + side])


def _enlarge(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Enlarge an image that is smaller than a square."""
    height, width = image.shape[-2:]
    if min(height, width) >= side:
        return image
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    planes = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
        for plane in image.reshape(-1, height, width)
    ]
    return np.stack(planes).reshape(*image.shape[:-2], *size[::-1])
