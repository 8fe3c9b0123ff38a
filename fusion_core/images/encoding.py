"""Encoding of images as files."""

from __future__ import annotations

import io

from PIL import Image

from fusion_core.images.decoding import Pixels


def encode_png(image: Pixels, *, compress_level: int = 3) -> bytes:
    """Encode an image as PNG.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        compress_level: From 0 (none) to 9 (smallest file).

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=compress_level)
    return buffer.getvalue()
