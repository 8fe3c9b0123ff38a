"""Decoding of JPEG files that are complete and ordinary, in half of Pillow's time."""

from __future__ import annotations

import re

import imagecodecs
import numpy as np

from fusion_core.images.limits import Pixels

JPEG_SIGNATURE = b"\xff\xd8"
START_OF_SCAN, END_OF_IMAGE, START_OF_IMAGE, TEMPORARY = 0xDA, 0xD9, 0xD8, 0x01
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither an escaped byte nor a restart
_SEQUENTIAL_FRAMES = (0xC0, 0xC1)
_OTHER_FRAMES = (0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_WITHOUT_LENGTH = (*range(0xC0), *range(0xD0, 0xDA), 0xFF)
"""Restarts, start and end of the image, reserved markers, and a byte that only fills."""


def decode_plain_jpeg(data: bytes) -> Pixels | None:
    """Decode a sequential JPEG of a single scan that is followed by the end of the image.

    Pillow and this decoder are the same library, libjpeg-turbo, with the same settings, so that
    their pixels are equal. The library invents the pixels that a truncated file lacks, which only
    Pillow detects: hence the end is looked for, and other files are left to Pillow.

    Args:
        data: The whole file, whose size has been checked.

    Returns:
        `(H, W)` or `(H, W, 3)` uint8, or None if the file is of another kind, or damaged.

    Raises:
        RuntimeError: The file is damaged.
    """
    scan = _single_scan(data)
    if scan is None:
        return None
    end = MARKER.search(data, scan)
    if end is None or data[end.end() - 1] != END_OF_IMAGE:
        return None
    return np.asarray(imagecodecs.jpeg8_decode(data))


def _single_scan(data: bytes) -> int | None:
    """Return where the scan of a sequential JPEG begins, None if the file is of another kind."""
    position, frames = len(JPEG_SIGNATURE), 0
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker = data[position + 1]
        if marker in _OTHER_FRAMES or marker in _WITHOUT_LENGTH:
            return None
        frames += marker in _SEQUENTIAL_FRAMES
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == START_OF_SCAN:
            return position if frames == 1 else None
    return None
