"""Encoding of images as files."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
from PIL import Image

from fusion_core.errors import InvalidValueError
from fusion_core.images.limits import Pixels
from fusion_core.images.png import COLOUR_TYPES, PNG_SIGNATURE, UP

_LARGEST_CHUNK = 2**31 - 1


def encode_png(image: Pixels, *, compress_level: int = 1) -> bytes:
    """Encode an image as PNG.

    Every row is stored as its difference from the row above, and compressed by libdeflate. The
    bytes for an image depend on the version of libdeflate alone.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        compress_level: From 0 (none) to 12 (smallest file, hundreds of times slower than 1).

    Returns:
        The bytes of the file.

    Raises:
        InvalidValueError: The image has another type or shape.

    >>> encode_png(np.zeros((2, 3), np.uint8))[1:4]
    b'PNG'
    """
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in COLOUR_TYPES:
        raise InvalidValueError(
            "Expected an image of uint8 with shape (H, W) or (H, W, 3), but got "
            f"{image.dtype} with shape {image.shape}"
        )
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    packed = bytes(imagecodecs.deflate_encode(filtered.tobytes(), compress_level))
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    parts = (packed[i : i + _LARGEST_CHUNK] for i in range(0, len(packed), _LARGEST_CHUNK))
    chunks = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", part) for part in parts)]
    return b"".join([PNG_SIGNATURE, *chunks, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk: its length, type, content and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))


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
