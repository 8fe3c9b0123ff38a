"""Resizing of the sources of a pair that differ in size but show the same scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusion_core.choices import Resize
from fusion_core.errors import PairMismatchError

EightBit = NDArray[np.uint8]

_LARGEST_DISTORTION = 0.02
"""Largest accepted difference between the factors of width and height."""


def to_one_size(ir: EightBit, vis: EightBit, rule: Resize) -> tuple[EightBit, EightBit, str | None]:
    """Resize one source of a pair to the size of the other, if they differ.

    The interpolation is Pillow's bicubic filter (a = -0.5), whose support grows with the reduction,
    so that a reduced image has no aliasing. Nothing is shifted or cropped: the corners of both
    images are taken for the same points of the scene.

    Args:
        ir: Infrared image `(H, W)` or `(H, W, 3)`, uint8.
        vis: Visible image, likewise, of another or the same size.
        rule: `smaller` reduces the image with more pixels, `visible` resizes the infrared image,
            and `off` leaves both as they are.

    Returns:
        Infrared image, visible image, and which of them was resized with its size before, such as
        `visible 1280x960`; None if neither.

    Raises:
        PairMismatchError: The proportions of the images differ by more than 2 %.

    >>> small, large = np.zeros((4, 6), np.uint8), np.zeros((8, 12, 3), np.uint8)
    >>> ir, vis, resized = to_one_size(small, large, "smaller")
    >>> vis.shape, resized
    ((4, 6, 3), 'visible 12x8')
    """
    if rule == "off" or ir.shape[:2] == vis.shape[:2]:
        return ir, vis, None
    _check_proportions(ir, vis)
    if rule == "smaller" and ir.shape[0] * ir.shape[1] < vis.shape[0] * vis.shape[1]:
        return ir, _resized(vis, ir), f"visible {_size(vis)}"
    return _resized(ir, vis), vis, f"infrared {_size(ir)}"


def _check_proportions(ir: EightBit, vis: EightBit) -> None:
    height, width = (one / other for one, other in zip(ir.shape[:2], vis.shape[:2], strict=True))
    # A rounded side may differ by a pixel.
    slack = max(1 / min(image.shape[:2]) for image in (ir, vis))
    if abs(width / height - 1) > max(_LARGEST_DISTORTION, slack):
        raise PairMismatchError(
            f"The infrared image is {_size(ir)} but the visible image is {_size(vis)}: their "
            "proportions differ, so they do not show the same scene, and resizing would distort one"
        )


def _resized(image: EightBit, other: EightBit) -> EightBit:
    """Return an image with the size of another one."""
    size = other.shape[1], other.shape[0]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _size(image: EightBit) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
