"""Limits on small files that would take long to decode, whatever size of image they state."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np

from fusion_core.errors import ImageDecodeError
from fusion_core.images.jpeg import (
    END_OF_IMAGE,
    JPEG_SIGNATURE,
    MARKER,
    START_OF_IMAGE,
    START_OF_SCAN,
    TEMPORARY,
)

_MOST_SCANS = 100
"""Scans of a JPEG, each of which passes over the whole image; libtiff has the same limit, and usual
progressive files have ten."""

_MOST_PARTS = 1024 * 1024
"""Strips or tiles of a TIFF."""
_SPARE_PART_BYTES = 1024**3
"""Bytes of all strips or tiles beyond twice those of the file, for files that overstate them."""
_TIFF_ORDERS: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
_TIFF, _BIG_TIFF = 42, 43
_PARTS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}  # offsets and byte counts
_BYTE_COUNTS = (279, 325)
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}

_PLAIN_PNM = (b"P1", b"P2", b"P3")
_PNM_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def check_effort(data: bytes) -> None:
    """Refuse a file that repeats its decoding many times.

    Raises:
        ImageDecodeError: A JPEG has too many scans, or the strips or tiles of a TIFF overlap.
    """
    if data.startswith(JPEG_SIGNATURE):
        _check_jpeg_scans(data)
    elif data[:2] in _TIFF_ORDERS:
        try:
            _check_tiff_parts(data, _TIFF_ORDERS[data[:2]])
        except struct.error:
            return  # the directory is cut off, which the decoder reports


def without_comments(data: bytes) -> bytes:
    """Remove the comments of a PPM, PGM or PBM in text, on which Pillow spends quadratic time."""
    if data.startswith(_PLAIN_PNM) and b"#" in data:
        return _PNM_COMMENT.sub(b"", data)
    return data


def _check_jpeg_scans(data: bytes) -> None:
    if data.count(b"\xff" + bytes([START_OF_SCAN])) <= _MOST_SCANS:
        return  # some of them may be in a thumbnail
    scans, position = 0, len(JPEG_SIGNATURE)
    while found := MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            return
        if marker in (START_OF_IMAGE, TEMPORARY):
            continue  # markers without a segment
        scans += marker == START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ImageDecodeError(
                f"The image is a JPEG of more than {_MOST_SCANS} scans, each of which takes as "
                "long as the whole image; save it again with another program"
            )
        position += max(2, int.from_bytes(data[position : position + 2], "big"))


def _check_tiff_parts(data: bytes, order: Literal["<", ">"]) -> None:
    for tag, kind, count, where in _tiff_directory(data, order):
        if tag not in _PARTS or kind not in _INTEGERS:
            continue
        if count > _MOST_PARTS:
            raise ImageDecodeError(
                f"The image is split into {count} {_PARTS[tag]}, over the limit of {_MOST_PARTS}"
            )
        numbers = np.dtype(_INTEGERS[kind]).newbyteorder(order)
        if tag not in _BYTE_COUNTS or where + count * numbers.itemsize > len(data):
            continue
        total = int(np.frombuffer(data, numbers, count, where).sum(dtype=np.float64))
        if total > 2 * len(data) + _SPARE_PART_BYTES:
            raise ImageDecodeError(
                f"The {_PARTS[tag]} of the image have {total} bytes, but the file has {len(data)}; "
                "save it again with another program"
            )


def _tiff_directory(data: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Return tag, type, number of values, and their place, of each entry of the first directory."""
    magic = struct.unpack_from(f"{order}H", data, 2)[0]
    if magic not in (_TIFF, _BIG_TIFF):
        return
    offset, entries, entry = ("Q", "Q", "HHQ") if magic == _BIG_TIFF else ("I", "H", "HHI")
    width = struct.calcsize(offset)  # of an offset, and of the values that replace it
    head = struct.calcsize(f"{order}{entry}")
    (start,) = struct.unpack_from(f"{order}{offset}", data, width)
    (number,) = struct.unpack_from(f"{order}{entries}", data, start)
    first = start + struct.calcsize(entries)
    last = first + number * (head + width)
    for at in range(first, min(last, len(data)), head + width):
        tag, kind, count = struct.unpack_from(f"{order}{entry}", data, at)
        size = count * np.dtype(_INTEGERS.get(kind, "u1")).itemsize
        (place,) = struct.unpack_from(f"{order}{offset}", data, at + head)
        yield tag, kind, count, at + head if size <= width else place
