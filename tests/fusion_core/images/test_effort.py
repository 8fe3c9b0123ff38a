"""Small files that would take long to decode."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from support.reference_files import jpeg_of_scans, noise, pillow_file, plain_pnm_file, tiff_file

from fusion_core.errors import ImageDecodeError
from fusion_core.images import effort
from fusion_core.images.decoding import count_pixels, decode_image

START_OF_SCAN = b"\xff\xda"
MOST_SCANS = 100


def test_a_jpeg_of_many_scans_is_refused() -> None:
    assert decode_image(jpeg_of_scans(MOST_SCANS)).shape == (64, 64)
    for count in (MOST_SCANS + 1, 50_000):
        with pytest.raises(ImageDecodeError, match="more than 100 scans"):
            decode_image(jpeg_of_scans(count))


def test_scans_are_not_counted_in_a_segment_or_after_the_end() -> None:
    data = pillow_file(noise(16, 16), "JPEG")
    thumbnail = START_OF_SCAN * 300
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    found = decode_image(data[:2] + segment + data[2:] + START_OF_SCAN * 300)
    assert np.array_equal(found, decode_image(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 1}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_strips_or_tiles_overlap_is_refused(
    order: str, big: bool, options: dict[str, object], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "_SPARE_PART_BYTES", 0)
    image = noise(300, 40, dtype=dtype)
    data = tiff_file(image, byteorder=order, bigtiff=big, compression="zlib", **options)
    assert np.array_equal(decode_image(data), image)
    with pytest.raises(ImageDecodeError, match=r"(strips|tiles) of the image have \d+ bytes"):
        decode_image(overstated(data, order, big=big))


def overstated(data: bytes, order: str, *, big: bool) -> bytes:
    """Let every strip or tile claim 65535 bytes."""
    place, number, entry, width = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    (start,) = struct.unpack_from(order + place, data, width)
    (count,) = struct.unpack_from(order + number, data, start)
    head = struct.calcsize(order + entry)
    for index in range(count):
        at = start + struct.calcsize(number) + index * (head + width)
        tag, kind, values = struct.unpack_from(order + entry, data, at)
        if tag in (279, 325):
            (where,) = struct.unpack_from(order + place, data, at + head)
            letter = {3: "H", 4: "I", 16: "Q"}[kind]
            changed = bytearray(data)
            struct.pack_into(f"{order}{values}{letter}", changed, where, *[65_535] * values)
            return bytes(changed)
    raise AssertionError("no byte counts")


def test_a_tiff_of_too_many_strips_is_refused_before_they_are_listed() -> None:
    data = bytearray(tiff_file(noise(300, 40), rowsperstrip=1))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] in (273, 279):
            struct.pack_into("<I", data, at + 4, 2_000_000)
    with pytest.raises(ImageDecodeError, match="split into 2000000 strips"):
        decode_image(bytes(data))
    assert count_pixels(bytes(data)) == 0


@pytest.mark.timeout(30)
def test_comments_of_a_pnm_in_text_take_linear_time() -> None:
    image = noise(8, 8)
    plain = plain_pnm_file(image)
    magic, size, top, values = plain.split(b"\n", 3)
    comments = b"#\n" * 1_000_000
    data = b"\n".join((magic + b" # P2", size, top, comments + values))
    assert np.array_equal(decode_image(data), image)
