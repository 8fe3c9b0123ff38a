"""Ordinary PNG files, which are decoded without Pillow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fusion_core.images import acceleration, decode_image, encode_png, prepare_images
from fusion_core.images.png import decode_plain_png

SHAPES = ((1, 1), (5, 7), (64, 48), (5, 7, 3), (3, 1, 3))
IMAGE = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)


@pytest.fixture(autouse=True, scope="module")
def kernels() -> None:
    """Load the kernels, without which only files as irfuse writes them are decoded."""
    prepare_images()


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


def with_chunks(data: bytes, ahead: bytes = b"", after: bytes = b"") -> bytes:
    """A file with further chunks in front of the image and behind it."""
    header, end = 8 + 25, len(data) - 12
    return data[:header] + ahead + data[header:end] + after + data[end:]


def filtered_at_random(image: np.ndarray, seed: int) -> bytes:
    """A file whose rows have all filters in any order, as the format defines them."""
    channels = 1 if image.ndim == 2 else 3
    height, width = image.shape[:2]
    rows = image.reshape(height, -1).astype(np.int64)
    kinds = np.random.default_rng(seed).integers(0, 5, height)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    pad = ((0, 0), (channels, 0))
    left, corner = (np.pad(x, pad)[:, :-channels] for x in (rows, above))
    guess = left + above - corner
    away = np.abs(guess - np.stack([left, above, corner]))
    nearest = np.choose(away.argmin(axis=0), [left, above, corner])
    predicted = np.choose(kinds[:, None], [0 * rows, left, above, (left + above) // 2, nearest])
    packed = ((rows - predicted) % 256).astype(np.uint8)
    content = b"".join(bytes([k]) + r.tobytes() for k, r in zip(kinds, packed, strict=True))
    return png(content, (width, height, 8, 0 if channels == 1 else 2, 0, 0, 0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_all_filters_are_undone(shape: tuple[int, ...], seed: int) -> None:
    image = noise(shape)
    data = filtered_at_random(image, seed)
    found = plain(data)
    assert found is not None
    assert np.array_equal(found, image)
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(data))))


NOTE = chunk(b"tEXt", b"Software\0camera")


@pytest.mark.parametrize(
    "data",
    [
        written_by_pillow(noise((20, 30))),
        written_by_pillow(noise((20, 30, 3)), dpi=(72, 72)),
        with_chunks(encode_png(IMAGE), chunk(b"gAMA", bytes([0, 0, 177, 143])), NOTE),
        png(b"\2\1\1\1\1\1" + bytes(5 * 6)),
    ],
)
def test_files_of_other_programs_are_decoded(data: bytes) -> None:
    found = plain(data)
    assert found is not None
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "data",
    [
        written_by_pillow(noise((20, 30, 4))),
        written_by_pillow(noise((20, 30)), transparency=3),
        with_chunks(encode_png(IMAGE), after=chunk(b"tEXt", b"Comment\0" + bytes([65] * 5000))),
        with_chunks(encode_png(IMAGE), after=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A"))),
        png(b"\2" * 30),  # too few rows
        png(b"\2" * 42),  # too many
        png(bytes(3 * 4), (5, 3, 4, 0, 0, 0, 0)),  # 4 bits per pixel
    ],
)
def test_files_of_other_kinds_are_left_to_pillow(data: bytes) -> None:
    assert plain(data) is None
    assert decode_image(data).shape[:2] == np.asarray(Image.open(io.BytesIO(data))).shape[:2]


def test_unknown_filters_and_interlaced_files_are_left_to_pillow() -> None:
    assert plain(png(b"\5" + bytes(35))) is None
    assert plain(png(bytes(36), (5, 6, 8, 0, 0, 0, 1))) is None


def test_without_kernels_only_files_of_irfuse_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_KERNELS", "not loaded")
    image = noise((20, 30, 3))
    assert np.array_equal(plain(encode_png(image)), image)
    assert plain(written_by_pillow(image)) is None
    assert plain(png(b"\2\1\1\1\1\1" + bytes(5 * 6))) is None
