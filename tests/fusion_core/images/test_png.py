"""PNG files as irfuse writes them, which are decoded without Pillow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fusion_core.images import decode_image, encode_png
from fusion_core.images.png import decode_plain_png

SHAPES = ((1, 1), (5, 7), (64, 48), (5, 7, 3), (3, 1, 3))
IMAGE = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def plain(data: bytes) -> np.ndarray | None:
    try:
        return decode_plain_png(data)
    except RuntimeError:
        return None


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_those_of_pillow(shape: tuple[int, ...]) -> None:
    image = noise(shape)
    data = encode_png(image)
    found = plain(data)
    assert found is not None
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(data))))
    decoded = decode_image(data)
    assert np.array_equal(decoded, image)
    assert decoded.flags.writeable
    assert decoded.flags.c_contiguous


def test_every_changed_byte_and_every_cut_is_left_to_pillow() -> None:
    data = encode_png(IMAGE)
    for place in range(8, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        assert plain(bytes(changed)) is None, place
        assert plain(data[:place]) is None, place
    assert plain(data + b"more") is None


def written_by_pillow(image: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(rows: bytes, header: tuple[int, ...] = (5, 6, 8, 0, 0, 0, 0)) -> bytes:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(rows)))
    return b"".join([b"\x89PNG\r\n\x1a\n", *(chunk(*c) for c in chunks), chunk(b"IEND", b"")])


@pytest.mark.parametrize(
    "data",
    [
        written_by_pillow(noise((20, 30))),
        written_by_pillow(noise((20, 30, 4))),
        written_by_pillow(noise((20, 30)), transparency=3),
        png(bytes(6 * 6)),  # rows without a filter
        png(b"\2\1\1\1\1\1" + bytes(5 * 6)),  # of which only the first has one
        png(b"\2" * 30),  # too few rows
        png(b"\2" * 42),  # too many
        png(bytes(3 * 4), (5, 3, 4, 0, 0, 0, 0)),  # 4 bits per pixel
    ],
)
def test_files_of_other_kinds_are_left_to_pillow(data: bytes) -> None:
    assert plain(data) is None
    assert decode_image(data).shape[:2] == np.asarray(Image.open(io.BytesIO(data))).shape[:2]
