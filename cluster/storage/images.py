"""Reading of the files of images, whose bytes are bounded, and of gray images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cluster.storage.locations import redact
from cluster.storage.store import Store
from fusion_core.choices import largest_file
from fusion_core.errors import ImageDecodeError, StorageError
from fusion_core.images import decode_image, luma, to_eight_bit


def read_image_file(store: Store, key: str, max_pixels: int) -> bytes:
    """Return the bytes of an image file, of which no more are read than an image can need.

    Raises:
        NotFoundError: The object does not exist.
        StorageError: The object cannot be read, or is too large for an image of so many pixels.
    """
    limit = largest_file(max_pixels)
    data = store.read_head(key, limit + 1)
    if len(data) > limit:
        raise StorageError(
            f"Cannot read {redact(store.uri(key))}: it has more than {limit} bytes, the limit for "
            f"images of up to {max_pixels} pixels; increase --max-pixels to accept it"
        )
    return data


def read_gray(store: Store, key: str, max_pixels: int) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray `(H, W)`.

    Raises:
        StorageError: The object cannot be read, or is too large.
        ImageDecodeError: The object is not an image; the message contains its location.
    """
    return decode_gray(read_image_file(store, key, max_pixels), store.uri(key), max_pixels)


def decode_gray(data: bytes, location: str, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image as 8-bit gray `(H, W)`.

    Raises:
        ImageDecodeError: It is not an image; the message contains its location.
    """
    try:
        image = to_eight_bit(decode_image(data, max_pixels=max_pixels))
    except ImageDecodeError as error:
        raise ImageDecodeError(f"{redact(location)}: {error}") from None
    return image if image.ndim == 2 else luma(image)
