"""Reading of single images from a store, for training and its evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cluster.storage.store import Store
from fusion_core.errors import ImageDecodeError
from fusion_core.images import decode_image, luma, to_eight_bit


def read_gray(store: Store, key: str, max_pixels: int) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray `(H, W)`.

    Raises:
        StorageError: The object cannot be read.
        ImageDecodeError: The object is not an image; the message contains its location.
    """
    try:
        image = to_eight_bit(decode_image(store.read(key), max_pixels=max_pixels))
    except ImageDecodeError as error:
        raise ImageDecodeError(f"{store.uri(key)}: {error}") from None
    return image if image.ndim == 2 else luma(image)
