"""Image files of every readable format, as written by other programs."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape: int, seed: int = 0, dtype: type = np.uint8) -> NDArray[Any]:
    """Draw levels over the full range of the type."""
    high = int(np.iinfo(dtype).max) + 1
    return np.random.default_rng(seed).integers(0, high, shape, dtype=dtype)


def pillow_file(image: NDArray[Any], file_format: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    return save_pillow(Image.fromarray(image), file_format, **options)


def save_pillow(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Encode a Pillow image."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff_file(image: NDArray[Any], **options: Any) -> bytes:
    """Encode with tifffile; three or four channels are RGB and one more."""
    channels = 0 if options.get("planarconfig") == "separate" else -1
    if image.ndim == 3 and image.shape[channels] in (3, 4):
        options.setdefault("photometric", "rgb")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def deep_png(image: NDArray[np.uint16]) -> bytes:
    """Encode an image with 16 bits per channel as PNG."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))


def pnm_file(image: NDArray[Any]) -> bytes:
    """Encode as binary PGM or PPM of 8 or 16 bits."""
    kind = b"P5" if image.ndim == 2 else b"P6"
    top = int(np.iinfo(image.dtype).max)
    header = b"%s\n%d %d\n%d\n" % (kind, image.shape[1], image.shape[0], top)
    return header + image.astype(image.dtype.newbyteorder(">")).tobytes()


def plain_pnm_file(image: NDArray[Any]) -> bytes:
    """Encode as PGM or PPM of 8 or 16 bits in decimal text."""
    kind = "P2" if image.ndim == 2 else "P3"
    levels = "\n".join(str(level) for level in image.ravel().tolist())
    top = np.iinfo(image.dtype).max
    return f"{kind}\n{image.shape[1]} {image.shape[0]}\n{top}\n{levels}\n".encode()


def png_claiming(width: int, height: int) -> bytes:
    """Return a valid one-bit PNG with any size in its header and almost no data."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        PNG_SIGNATURE
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", data)
        + png_chunk(b"IEND", b"")
    )


def tiff_of_tags(*tags: tuple[int, int, tuple[int, ...]], data: bytes = bytes(64)) -> bytes:
    """Write a little-endian TIFF from tuples of code, type (3: short, 4: long) and values."""
    directory = 8 + len(data)
    extra = directory + 2 + 12 * len(tags) + 4
    entries, overflow = b"", b""
    for code, kind, values in sorted(tags):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            entries += struct.pack("<HHII", code, kind, len(values), extra + len(overflow))
            overflow += packed
        else:
            entries += struct.pack("<HHI", code, kind, len(values)) + packed.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, directory)
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4) + overflow


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Write one chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def jpeg_of_scans(count: int) -> bytes:
    """Write a progressive JPEG of 64x64 pixels whose last scan, a refinement, is repeated."""
    end, start_of_scan = b"\xff\xd9", b"\xff\xda"
    data = pillow_file(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(start_of_scan) : -len(end)]
    return data[: -len(end)] + (count - data.count(start_of_scan)) * last + end
