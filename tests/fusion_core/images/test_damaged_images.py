from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.reference_files import (
    PNG_SIGNATURE,
    deep_png,
    noise,
    pillow_file,
    plain_pnm_file,
    png_claiming,
    pnm_file,
    save_pillow,
    tiff_file,
    tiff_of_tags,
)

from fusion_core.choices import DEFAULT_MAX_PIXELS
from fusion_core.errors import ImageDecodeError
from fusion_core.images.decoding import count_pixels, decode_four_channel, decode_image

# Pillow warns of damaged TIFF tags before it gives up.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GRAY, RGB = noise(20, 30, seed=1), noise(20, 30, 3, seed=2)
DEEP_GRAY = noise(20, 30, seed=3, dtype=np.uint16)
DEEP_RGB = noise(20, 30, 3, seed=4, dtype=np.uint16)

FILES: dict[str, bytes] = {
    "PNG gray": pillow_file(GRAY, "PNG"),
    "PNG RGB": pillow_file(RGB, "PNG"),
    "PNG palette": save_pillow(Image.fromarray(RGB).convert("P"), "PNG"),
    "PNG 16-bit gray": deep_png(DEEP_GRAY),
    "PNG 16-bit RGB": deep_png(DEEP_RGB),
    "JPEG": pillow_file(RGB, "JPEG"),
    "JPEG progressive": pillow_file(RGB, "JPEG", progressive=True),
    "JPEG CMYK": save_pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "BMP": pillow_file(RGB, "BMP"),
    "WebP": pillow_file(RGB, "WEBP"),
    "PGM 16-bit": pnm_file(DEEP_GRAY),
    "PPM": pnm_file(RGB),
    "PPM in text": plain_pnm_file(RGB),
    "JPEG 2000": pillow_file(RGB, "JPEG2000"),
    "TIFF 8-bit": pillow_file(RGB, "TIFF"),
    "TIFF 8-bit LZW": pillow_file(RGB, "TIFF", compression="tiff_lzw"),
    "TIFF 8-bit by tifffile": tiff_file(RGB),
    "TIFF 8-bit planes": tiff_file(np.moveaxis(RGB, -1, 0), planarconfig="separate"),
    "TIFF 16-bit gray": tiff_file(DEEP_GRAY),
    "TIFF 16-bit gray LZW": tiff_file(DEEP_GRAY, compression="lzw"),
    "TIFF 16-bit RGB": tiff_file(DEEP_RGB),
    "TIFF 16-bit RGB strips": tiff_file(DEEP_RGB, rowsperstrip=3),
    "TIFF 16-bit RGB LZW": tiff_file(DEEP_RGB, compression="lzw", rowsperstrip=3),
    "TIFF 16-bit RGB deflate": tiff_file(DEEP_RGB, compression="deflate"),
    "TIFF 16-bit RGB tiles": tiff_file(DEEP_RGB, tile=(16, 16)),
    "TIFF 16-bit RGB big-endian": tiff_file(DEEP_RGB, byteorder=">"),
    "TIFF 16-bit RGBA": tiff_file(noise(9, 8, 4, dtype=np.uint16), extrasamples=["unassalpha"]),
    "BigTIFF 16-bit RGB": tiff_file(DEEP_RGB, bigtiff=True),
}

SHORT, LONG = 3, 4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277

Tag = tuple[int, tuple[int, ...]]


def tiff(**changes: Tag | None) -> bytes:
    """Write an 8x8 gray TIFF with tags changed or, where None, left out."""
    tags: dict[int, Tag | None] = {
        WIDTH: (LONG, (8,)),
        HEIGHT: (LONG, (8,)),
        BITS: (SHORT, (8,)),
        COMPRESSION: (SHORT, (1,)),
        PHOTOMETRIC: (SHORT, (1,)),
        273: (LONG, (8,)),  # the strip starts after the header
        SAMPLES: (SHORT, (1,)),
        278: (LONG, (8,)),
        279: (LONG, (64,)),
    }
    names = {"width": WIDTH, "height": HEIGHT, "bits": BITS, "samples": SAMPLES}
    tags |= {names[name]: tag for name, tag in changes.items()}
    return tiff_of_tags(*[(code, *tag) for code, tag in tags.items() if tag is not None])


def refusal(data: bytes, **options: Any) -> str:
    """Return why a file is refused, after checking that a person can read it."""
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(data, **options)
    message = str(caught.value)
    assert_readable(message)
    return message


def assert_readable(message: str) -> None:
    assert message.startswith(("The ", "Expected "))
    assert 20 < len(message) < 300
    assert "\n" not in message
    assert "object at 0x" not in message


def test_empty_file_is_called_empty() -> None:
    assert refusal(b"") == "The file is empty (0 bytes)"


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b"\n\n  <HTML>\n<head><title>Sign in</title></head></HTML>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
    ],
    ids=["doctype", "upper case", "S3 error"],
)
def test_web_page_in_place_of_an_image_is_called_so(page: bytes) -> None:
    assert "HTML or XML, not an image" in refusal(page)


NO_IMAGES = {
    "text": b"hello",
    "JSON": b'{"error": "not found"}',
    "zeros": bytes(5000),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "large file pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
    "random": noise(4096, seed=9).tobytes(),
    "GIF": pillow_file(GRAY, "GIF"),
    "PNG signature alone": PNG_SIGNATURE,
    "half a TIFF signature": b"II*",
    "PGM without pixels": b"P5\n0 5\n255\n",
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_file_of_no_known_format_is_refused(name: str) -> None:
    assert "not an image in a known format (PNG, JPEG, " in refusal(NO_IMAGES[name])


@pytest.mark.parametrize("name", FILES)
def test_whole_file_is_decoded_and_a_part_is_called_damaged_or_truncated(name: str) -> None:
    data = FILES[name]
    assert decode_image(data).shape[:2] in {(20, 30), (9, 8)}
    assert "damaged" in refusal(data[: len(data) // 2])
    assert "damaged" in refusal(data[: -len(data) // 5])


@pytest.mark.parametrize(
    "data",
    [b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0", b"II+\0\x08\0\0\0", tiff_of_tags()],
    ids=["signature", "big-endian signature", "header", "BigTIFF header", "no tags"],
)
def test_tiff_cut_after_its_header_is_refused(data: bytes) -> None:
    assert "damaged" in refusal(data) or "but got None" in refusal(data)


DAMAGED_TAGS: dict[str, dict[str, Tag | None]] = {
    "no width": {"width": None},
    "no height": {"height": None},
    "width of 0": {"width": (LONG, (0,))},
    "height of 0": {"height": (LONG, (0,))},
    "16 bits, no width": {"width": None, "bits": (SHORT, (16,))},
    "16 bits, two widths": {"width": (LONG, (8, 8)), "bits": (SHORT, (16, 16, 16))},
    "float bits": {"bits": (SHORT, (64,))},
}


@pytest.mark.parametrize("name", DAMAGED_TAGS)
def test_tiff_with_damaged_tags_is_refused(name: str) -> None:
    refusal(tiff(**DAMAGED_TAGS[name]))


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_with_tiles_of_no_width_is_refused(bits: int) -> None:
    data = tiff_of_tags(
        (WIDTH, LONG, (16,)),
        (HEIGHT, LONG, (16,)),
        (BITS, SHORT, (bits, bits, bits)),
        (COMPRESSION, SHORT, (1,)),
        (PHOTOMETRIC, SHORT, (2,)),
        (SAMPLES, SHORT, (3,)),
        (322, LONG, (0,)),
        (323, LONG, (0,)),
        (324, LONG, (8,)),
        (325, LONG, (64,)),
    )
    assert "damaged" in refusal(data)


def test_png_with_a_broken_chunk_in_the_middle_is_refused() -> None:
    data = pillow_file(noise(200, 600), "PNG")
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    assert "damaged" in refusal(data[:second] + b"\0\1\2\3" + data[second + 4 :])


def test_valid_tiff_of_hand_written_tags_is_decoded() -> None:
    assert decode_image(tiff()).shape == (8, 8)


@pytest.mark.parametrize("samples", [5, 60_000])
def test_tiff_that_claims_many_samples_is_refused_before_it_is_unpacked(samples: int) -> None:
    data = tiff(
        width=(LONG, (8000,)),
        height=(LONG, (8000,)),
        bits=(SHORT, (16,)),
        samples=(SHORT, (samples,)),
    )
    tracemalloc.start()
    try:
        refusal(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "data",
    [
        png_claiming(100_000, 100_000),
        b"P5\n100000 100000\n255\n",
        tiff(width=(LONG, (100_000,)), height=(LONG, (100_000,))),
        FILES["BMP"].replace(struct.pack("<ii", 30, 20), struct.pack("<ii", 100_000, 100_000), 1),
    ],
    ids=["PNG", "PGM", "TIFF", "BMP"],
)
def test_bomb_is_refused_by_its_header(data: bytes) -> None:
    message = refusal(data)
    assert "10000000000 pixels" in message or "100000x100000" in message


def test_image_just_over_the_limit_is_refused_with_the_remedy() -> None:
    message = refusal(png_claiming(8193, 8192))
    assert message == (
        "The size of the image is 8193x8192, over the limit of 67108864 pixels; "
        "increase --max-pixels to accept it"
    )


def test_default_limit_is_sixty_four_megapixels() -> None:
    assert DEFAULT_MAX_PIXELS == 8192 * 8192


@pytest.mark.parametrize("name", FILES)
def test_limit_is_exact_for_every_format(name: str) -> None:
    pixels = int(np.prod(decode_image(FILES[name]).shape[:2]))
    assert decode_image(FILES[name], max_pixels=pixels).size >= pixels
    assert f"over the limit of {pixels - 1} pixels" in refusal(FILES[name], max_pixels=pixels - 1)


@pytest.mark.parametrize("name", FILES)
def test_pixels_of_every_format_are_counted_from_its_header(name: str) -> None:
    assert count_pixels(FILES[name]) == np.prod(decode_image(FILES[name]).shape[:2])


def test_no_pixels_are_counted_where_no_header_can_be_read() -> None:
    assert [count_pixels(data) for data in NO_IMAGES.values()] == [0] * len(NO_IMAGES)
    assert count_pixels(b"") == 0


def test_limit_holds_for_four_channel_files() -> None:
    with pytest.raises(ImageDecodeError, match="over the limit of 599 pixels"):
        decode_four_channel(pillow_file(noise(20, 30, 4), "PNG"), max_pixels=599)


def decode_or_refuse(data: bytes) -> bool:
    """Check that damaged bytes give an image, or an ImageDecodeError that a person can read.

    Returns whether they give an image. Each test asks for some of both: a decoder that refuses
    everything is not sound.
    """
    counted = count_pixels(data)
    try:
        image = decode_image(data, max_pixels=1_000_000)
    except ImageDecodeError as error:
        assert_readable(str(error))
        return False
    assert image.dtype in (np.uint8, np.uint16)
    assert counted == image.shape[0] * image.shape[1] > 0
    assert image.ndim == 2 or image.shape[2:] == (3,)
    return True


names = st.sampled_from(list(FILES))
damage_settings = settings(derandomize=True, deadline=None, max_examples=400, database=None)


def test_truncated_file_is_decoded_or_refused() -> None:
    outcomes: set[bool] = set()

    @given(name=names, share=st.floats(0, 1))
    @damage_settings
    def truncate(name: str, share: float) -> None:
        outcomes.add(decode_or_refuse(FILES[name][: int(share * len(FILES[name]))]))

    truncate()
    assert outcomes == {True, False}


def test_corrupted_file_is_decoded_or_refused() -> None:
    outcomes: set[bool] = set()
    change = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))

    @given(name=names, changes=st.lists(change, min_size=1))
    @damage_settings
    def corrupt(name: str, changes: list[tuple[float, int]]) -> None:
        data = bytearray(FILES[name])
        for share, byte in changes:
            data[int(share * len(data))] = byte
        outcomes.add(decode_or_refuse(bytes(data)))

    corrupt()
    assert outcomes == {True, False}


def test_tiff_with_corrupted_directory_is_decoded_or_refused() -> None:
    outcomes: set[bool] = set()
    change = st.tuples(st.integers(0, 200), st.integers(0, 255))

    @given(
        name=st.sampled_from([name for name in FILES if "TIFF" in name]),
        changes=st.lists(change, min_size=1, max_size=4),
    )
    @settings(damage_settings, max_examples=800)
    def corrupt(name: str, changes: list[tuple[int, int]]) -> None:
        data = bytearray(FILES[name])
        order = ">" if data[:2] == b"MM" else "<"
        directory = 16 if "Big" in name else struct.unpack(f"{order}I", data[4:8])[0]
        for offset, byte in changes:
            data[min(directory + offset, len(data) - 1)] = byte
        outcomes.add(decode_or_refuse(bytes(data)))

    corrupt()
    assert outcomes == {True, False}
