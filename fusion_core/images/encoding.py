"""Encoding of images as files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from PIL import Image

from fusion_core.errors import InvalidValueError
from fusion_core.images.limits import Pixels


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


def encode_webp(image: Pixels, *, quality: int | None = None) -> bytes:
    """Encode an image as WebP, for pages.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        quality: From 0 to 100; lossless by default.

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    lossless = quality is None
    Image.fromarray(image).save(
        buffer,
        format="WEBP",
        lossless=lossless,
        quality=75 if quality is None else quality,
        method=4,
    )
    return buffer.getvalue()


def encode_tiff(image: Pixels) -> bytes:
    """Encode an image as TIFF with deflate, which is lossless.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="TIFF", compression="tiff_deflate")
    return buffer.getvalue()


_ENCODERS: dict[str, Callable[[Pixels], bytes]] = {
    ".png": encode_png,
    ".tif": encode_tiff,
    ".tiff": encode_tiff,
}


def image_encoder(name: str) -> Callable[[Pixels], bytes]:
    """Return the encoder of a file by the ending of its name.

    Raises:
        InvalidValueError: The ending is not that of a lossless format.

    >>> image_encoder("fused.PNG").__name__
    'encode_png'
    """
    ending = os.path.splitext(name)[1].lower()
    if ending in _ENCODERS:
        return _ENCODERS[ending]
    raise InvalidValueError(
        f"Expected a name that ends in {', '.join(_ENCODERS)}, but got {name}: fused images are "
        "written without loss, because JPEG changes their scores"
    )
