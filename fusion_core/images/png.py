"""The PNG format, as far as encoding and decoding share it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import imagecodecs
import numpy as np

from fusion_core.images.acceleration import loaded_kernels
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
_AHEAD = {
    b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"eXIf",
    b"tEXt", b"zTXt", b"iTXt",
}  # fmt: skip
"""Chunks in front of the image that do not change its pixels."""
_AFTER = {b"tIME", b"tEXt"}
"""The same behind the image, as far as Pillow does not refuse any content of short ones."""
_LONGEST_AFTER = 4096


def decode_plain_png(data: bytes) -> Pixels | None:
    """Decode an ordinary PNG in half of Pillow's time, without the interpreter lock.

    Until `prepare_images` is called, this is limited to files as `encode_png` writes them. An
    ordinary file has 8 bits per channel, is gray or RGB, not interlaced, not animated, and without
    transparency. All checksums are compared. Other files are left to Pillow, which has read all
    chunks in front of the image already. Unlike Pillow's zlib, libdeflate also takes codes of over
    286 symbols, which no encoder writes.

    Args:
        data: The whole file, whose size has been checked.

    Returns:
        `(H, W)` or `(H, W, 3)` uint8, or None if the file is of another kind, or damaged.

    Raises:
        RuntimeError: The file is damaged.
    """
    chunks = list(_chunks(data))
    parts = _image_parts(chunks)
    if not parts:
        return None
    header = chunks[0][1]
    width, height = (int.from_bytes(header[first : first + 4], "big") for first in (0, 4))
    depth, colour_type, *rest = header[8:]
    if depth != _EIGHT_BIT or colour_type not in _CHANNELS or rest != [0, 0, 0]:
        return None
    channels = _CHANNELS[colour_type]
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    packed = b"".join(parts)
    if loaded_kernels() is None and _first_filter(packed) != UP:
        return None
    if len(imagecodecs.deflate_decode(packed, out=filtered.reshape(-1).data)) != filtered.size:
        return None
    pixels = np.empty((height, width * channels), np.uint8)
    if not _undo_filters(filtered, pixels, channels):
        return None
    return pixels if channels == 1 else pixels.reshape(height, width, channels)


def _first_filter(packed: bytes) -> int:
    """Return the filter of the first row."""
    return zlib.decompressobj().decompress(packed[:_BEGINNING], 1)[0]


def _undo_filters(filtered: Pixels, pixels: Pixels, step: int) -> bool:
    """Undo the filters of all rows; without the kernels, only if all are those of `encode_png`."""
    kernels = loaded_kernels()
    if kernels is not None:
        known: bool = kernels.undo_filters(filtered, pixels, step)
        return known
    if (filtered[:, 0] != UP).any():
        return False
    pixels[0] = filtered[0, 1:]
    for y in range(1, len(pixels)):
        np.add(pixels[y - 1], filtered[y, 1:], out=pixels[y])
    return True


def _image_parts(chunks: Sequence[tuple[bytes, memoryview]]) -> list[memoryview]:
    """Return the parts of the image of a file with no chunks that might change it, or none."""
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or b"IDAT" not in kinds:
        return []
    first, count = kinds.index(b"IDAT"), kinds.count(b"IDAT")
    after = chunks[first + count : -1]
    short = sum(len(content) for _, content in after) <= _LONGEST_AFTER
    if not {*kinds[1:first]} <= _AHEAD or not {kind for kind, _ in after} <= _AFTER or not short:
        return []
    return [content for _, content in chunks[first : first + count]]


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and content of the chunks of a PNG, up to the first one that is damaged."""
    view = memoryview(data)
    position = len(PNG_SIGNATURE)
    while position < len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        checked = view[position + 4 : end]
        checksum = imagecodecs.deflate_crc32(checked)  # type: ignore[arg-type]
        if int.from_bytes(view[end : end + 4], "big") != checksum:
            return
        yield bytes(checked[:4]), checked[4:]
        position = end + 4
