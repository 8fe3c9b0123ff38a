"""Headers of image files."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.reference_files import (
    deep_png,
    noise,
    pillow_file,
    plain_pnm_file,
    pnm_file,
    save_pillow,
    tiff_file,
)

from fusion_core.errors import ImageDecodeError
from fusion_core.images.headers import ImageHeader, read_header

GRAY, RGB, FOUR = noise(13, 17, seed=1), noise(13, 17, 3, seed=2), noise(13, 17, 4, seed=3)
DEEP, DEEP_RGB = (noise(*shape, seed=4, dtype=np.uint16) for shape in ((13, 17), (13, 17, 3)))
NINE = noise(13, 17, 9, seed=5).astype(np.float32)

KINDS: dict[str, tuple[bytes, str]] = {
    "PNG": (pillow_file(GRAY, "PNG"), "8-bit gray"),
    "PNG RGB": (pillow_file(RGB, "PNG"), "8-bit RGB"),
    "PNG RGBA": (pillow_file(FOUR, "PNG"), "8-bit, four channels"),
    "PNG palette": (save_pillow(Image.fromarray(RGB).convert("P"), "PNG"), "8-bit RGB"),
    "PNG one bit": (save_pillow(Image.fromarray(GRAY > 99), "PNG"), "1-bit gray"),
    "PNG alpha": (save_pillow(Image.fromarray(GRAY).convert("LA"), "PNG"), "8-bit gray with alpha"),
    "deep PNG": (deep_png(DEEP), "16-bit gray"),
    "deep PNG RGB": (deep_png(DEEP_RGB), "16-bit RGB"),
    "JPEG": (pillow_file(RGB, "JPEG"), "8-bit RGB"),
    "JPEG gray": (pillow_file(GRAY, "JPEG"), "8-bit gray"),
    "JPEG CMYK": (save_pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "8-bit RGB"),
    "BMP": (pillow_file(GRAY, "BMP"), "8-bit gray"),
    "WebP": (pillow_file(RGB, "WEBP"), "8-bit RGB"),
    "JPEG 2000": (pillow_file(RGB, "JPEG2000"), "8-bit RGB"),
    "deep JPEG 2000": (bytes(imagecodecs.jpeg2k_encode(DEEP, level=0)), "16-bit gray"),
    "PPM": (pnm_file(RGB), "8-bit RGB"),
    "PGM in text": (plain_pnm_file(GRAY), "8-bit gray"),
    "deep PGM": (pnm_file(DEEP), "16-bit gray"),
    "TIFF": (tiff_file(GRAY), "8-bit gray"),
    "deep TIFF": (tiff_file(DEEP_RGB), "16-bit RGB"),
    "TIFF palette": (save_pillow(Image.fromarray(RGB).convert("P"), "TIFF"), "8-bit RGB"),
    "float TIFF": (tiff_file(DEEP.astype(np.float32)), "32-bit float gray"),
    "double TIFF": (tiff_file(DEEP.astype(np.float64)), "64-bit float gray"),
    "bands": (tiff_file(NINE, photometric="minisblack", planarconfig="contig"),
              "32-bit float, 9 bands"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_header_says_size_depth_and_colour(name: str) -> None:
    data, kind = KINDS[name]
    header = read_header(io.BytesIO(data))
    assert (header.width, header.height, header.size) == (17, 13, "17x13")
    assert header.kind == kind


class Counting(io.BytesIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "JPEG", "PPM"])
def test_pixels_are_not_read(file_format: str) -> None:
    file = Counting(pillow_file(noise(600, 800, 3), file_format))
    assert read_header(file) == ImageHeader(800, 600, 8, 3, sufficient=file_format != "PPM")
    assert file.count < 5000


DECODED = ("JPEG 2000", "deep JPEG 2000", "PPM", "PGM in text", "deep PGM", "float TIFF",
           "double TIFF", "bands")  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_header_suffices_for_common_files_that_are_whole(name: str) -> None:
    data = KINDS[name][0]
    assert read_header(io.BytesIO(data)).sufficient == (name not in DECODED)
    if name != "WebP":  # whose header cannot be read without the rest
        beginning = data[: len(data) * 9 // 10]
        assert not read_header(io.BytesIO(beginning)).sufficient


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.uint64])
def test_a_header_suffices_for_integers_that_can_be_read(dtype: type) -> None:
    header = read_header(io.BytesIO(tiff_file(GRAY.astype(dtype))))
    assert header.sufficient == (dtype != np.uint64)


def test_images_over_the_limit_are_refused() -> None:
    data = pillow_file(GRAY, "PNG")
    assert read_header(io.BytesIO(data), max_pixels=221).size == "17x13"
    with pytest.raises(ImageDecodeError, match="17x13, over the limit of 220 pixels"):
        read_header(io.BytesIO(data), max_pixels=220)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404", "HTML"),
        (b"nothing to see here", "not an image"),
        (pillow_file(GRAY, "PNG")[:20], "image"),
        (tiff_file(GRAY)[:8] + bytes(20), "damaged"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageDecodeError, match=message):
        read_header(io.BytesIO(data))
