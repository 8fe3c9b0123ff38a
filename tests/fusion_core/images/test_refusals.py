"""Refusals of files that are no images repeat nothing of their content."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from support.reference_files import (
    PNG_SIGNATURE,
    deep_png,
    noise,
    pillow_file,
    plain_pnm_file,
    pnm_file,
    tiff_file,
)

from fusion_core.errors import ImageDecodeError
from fusion_core.images.decoding import READABLE_FORMATS, decode_image
from fusion_core.images.headers import read_header
from fusion_core.images.refusals import describe_unreadable

SECRET = b"S3CR3T"
BEGINNINGS = (
    b"", PNG_SIGNATURE, PNG_SIGNATURE + b"\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"BM", b"II*\0",
    b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"P1\n", b"P5\n8 8\n", b"P3\n2 2 ", b"P2\n8 8 255\n",
    b"P1\n8 8\n", b"Pf\n", b"RIFF\x40\0\0\0WEBPVP8 ",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
)  # fmt: skip
ENDS = (SECRET * 40, b" " + SECRET * 2, SECRET + b"\n" + SECRET * 9, b"\0\0\0\x06" + SECRET * 40)
COLOUR, DEEP = noise(6, 7, 3), noise(6, 7, 3, dtype=np.uint16)
FILES = {
    "PNG": pillow_file(COLOUR, "PNG"),
    "PNG 16-bit": deep_png(DEEP),
    "JPEG": pillow_file(COLOUR, "JPEG"),
    "BMP": pillow_file(COLOUR, "BMP"),
    "TIFF": pillow_file(COLOUR, "TIFF"),
    "TIFF 16-bit": tiff_file(DEEP, compression="lzw"),
    "WebP": pillow_file(COLOUR, "WEBP"),
    "JPEG 2000": pillow_file(COLOUR, "JPEG2000"),
    "PPM": pnm_file(COLOUR),
    "PGM in text": plain_pnm_file(COLOUR[..., 0]),
}

# Pillow warns of damaged TIFF tags before it gives up.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def read_only_header(data: bytes) -> object:
    return read_header(io.BytesIO(data))


readers = pytest.mark.parametrize("read", [decode_image, read_only_header])


def assert_tells_nothing(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        read(data)
    except ImageDecodeError as error:
        message = str(error)
        assert "3CR3" not in message
        assert not any(mark in message for mark in ("\\x", "b'", 'b"'))


@readers
def test_a_refusal_repeats_nothing_after_the_beginning_of_any_format(
    read: Callable[[bytes], object],
) -> None:
    for beginning, end in itertools.product(BEGINNINGS, ENDS):
        assert_tells_nothing(read, beginning + end)


@readers
@pytest.mark.parametrize("name", FILES)
def test_a_refusal_repeats_nothing_from_within_an_image(
    name: str, read: Callable[[bytes], object]
) -> None:
    data = FILES[name]
    for place in range(0, min(len(data), 300)):
        assert_tells_nothing(read, data[:place] + SECRET + data[place + len(SECRET) :])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n", "it is a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "`git lfs pull` fetches the image"),
        (b"GIF89a", "it is a GIF"),
        (b"hello,\tworld\r\n", "it is text"),
        (bytes(5000), "it is empty apart from zeros"),
        (b" <!DOCTYPE html>", "a web page saved in its place"),
        (b"\x01\x02\x03", "known format (PNG)"),
    ],
)
def test_a_file_that_is_no_image_is_described(data: bytes, words: str) -> None:
    assert words in describe_unreadable(data, ("PNG",))


def test_every_format_is_named() -> None:
    message = describe_unreadable(b"\x01", READABLE_FORMATS)
    assert all(name in message for name in READABLE_FORMATS)
