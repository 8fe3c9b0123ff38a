"""The PNG format, as far as encoding and decoding share it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np

from fusion_core.images.limits import Pixels

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2
"""The PNG filter that subtracts the pixel above."""
COLOUR_TYPES = {1: 0, 3: 2}
"""PNG colour types of gray and RGB, by the number of channels."""
_CHANNELS = {colour_type: channels for channels, colour_type in COLOUR_TYPES.items()}
_EIGHT_BIT = 8
_BEGINNING = 1024
"""Bytes of compressed data that are enough to find the filter of the first row."""


def decode_plain_png(data: bytes) -> Pixels | None:
    """Decode a PNG as `encode_png` writes it, in half of Pillow's time.

    Such a file has 8 bits per channel and no other chunks than the image, every row of which is the
    difference from the row above. All checksums are compared. Other files are left to Pillow.
    Unlike Pillow's zlib, libdeflate also takes codes of over 286 symbols, which no encoder writes.

    Args:
        data: The whole file, whose size has been checked.

    Returns:
        `(H, W)` or `(H, W, 3)` uint8, or None if the file is of another kind, or damaged.

    Raises:
        RuntimeError: The file is damaged.
    """
    chunks = list(_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or {*kinds[1:-1]} != {b"IDAT"}:
        return None
    header = chunks[0][1]
    width, height = (int.from_bytes(header[first : first + 4], "big") for first in (0, 4))
    depth, colour_type, *rest = header[8:]
    if depth != _EIGHT_BIT or colour_type not in _CHANNELS or rest != [0, 0, 0]:
        return None
    packed = b"".join(content for _, content in chunks[1:-1])
    if zlib.decompressobj().decompress(packed[:_BEGINNING], 1) != bytes([UP]):
        return None
    channels = _CHANNELS[colour_type]
    rows = bytearray(height * (1 + width * channels))
    found = imagecodecs.deflate_decode(packed, out=rows)
    filtered = np.frombuffer(rows, np.uint8).reshape(height, -1)
    if len(found) != len(rows) or (filtered[:, 0] != UP).any():
        return None
    above, *others = filtered
    for row in others:
        np.add(above, row, out=row)
        above = row
    pixels = filtered[:, 1:]
    return pixels if channels == 1 else pixels.reshape(height, width, channels)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the chunks of a PNG, up to the first one that is damaged."""
    position = len(PNG_SIGNATURE)
    while position < len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        checked = data[position + 4 : end]
        if int.from_bytes(data[end : end + 4], "big") != imagecodecs.deflate_crc32(checked):
            return
        yield checked[:4], checked[4:]
        position = end + 4
