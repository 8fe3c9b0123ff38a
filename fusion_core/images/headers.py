"""Headers of image files: size, bit depth and channels, without the pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import tifffile
from PIL import Image, UnidentifiedImageError

from fusion_core.choices import DEFAULT_MAX_PIXELS
from fusion_core.errors import ImageDecodeError, reason_without_content
from fusion_core.images.decoding import DECODER_ERRORS, READABLE_FORMATS
from fusion_core.images.limits import check_pixel_count
from fusion_core.images.refusals import describe_unreadable
from fusion_core.images.tiff import COMPRESSIONS, MOST_CHANNELS, TIFF_SIGNATURES

_HEAD_BYTES = 512
_PNG_DEPTH_AT = 24
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_MOST_INTEGER_BYTES = 4
_PALETTE = 3  # a TIFF photometric interpretation
_ENDINGS = {"PNG": b"\0\0\0\0IEND\xae\x42\x60\x82", "JPEG": b"\xff\xd9"}
"""Last bytes of complete files."""
_LENGTH_AT = {"BMP": (2, 0), "WEBP": (4, 8)}
"""Where the header states the length of the file in four bytes, and what that length leaves out."""
_MODES = {"1": (1, 1), "P": (8, 3), "CMYK": (8, 3), "I;16": (16, 1), "I": (16, 1)}
"""Bits and channels of Pillow's modes, where they are not 8 bits for each of its bands."""
_COLOURS = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "four channels"}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself."""

    width: int
    height: int
    bits: int
    """Bits per channel."""
    channels: int
    """Number of channels; 3 for a palette."""
    floating: bool = False
    """Whether the values are floating-point."""
    sufficient: bool = True
    """Whether the header and the end of the file suffice to know that the image can be read, unless
    its pixels are damaged. It is False for files that may be cut off, and for kinds of files of
    which only decoding shows whether they are supported."""

    @property
    def size(self) -> str:
        """Width and height, such as `640x480`."""
        return f"{self.width}x{self.height}"

    @property
    def kind(self) -> str:
        """Depth and colour, such as `8-bit gray` or `32-bit float, 5 bands`."""
        colour = _COLOURS.get(self.channels, f"{self.channels} bands")
        comma = "," if self.channels > max(_COLOURS) or self.channels == 4 else ""
        return f"{self.bits}-bit{' float' if self.floating else ''}{comma} {colour}"


def read_header(file: BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageHeader:
    """Read the header of an image file, and the last bytes.

    Args:
        file: The file, of which only the parts that are needed are read.
        max_pixels: Largest accepted width x height.

    Raises:
        ImageDecodeError: The file is not a readable image, its header is damaged, or the image is
            too large.

    >>> import io, numpy as np
    >>> from fusion_core.images.encoding import encode_png
    >>> read_header(io.BytesIO(encode_png(np.zeros((2, 3), np.uint8)))).kind
    '8-bit gray'
    """
    try:
        head = file.read(_HEAD_BYTES)
        if not head:
            raise ImageDecodeError("The file is empty (0 bytes)")
        file.seek(0)
        if head.startswith(TIFF_SIGNATURES):
            header = _tiff_header(file)
        else:
            with Image.open(file, formats=READABLE_FORMATS) as image:
                header = _header(image, head, file)
        check_pixel_count(header.width, header.height, max_pixels)
        return header
    except ImageDecodeError:
        raise
    except UnidentifiedImageError:
        raise ImageDecodeError(describe_unreadable(head, READABLE_FORMATS)) from None
    except Image.DecompressionBombError as error:
        raise ImageDecodeError(f"The image is too large to be decoded safely: {error}") from None
    except DECODER_ERRORS as error:
        raise ImageDecodeError(
            f"The header of the image is damaged: {reason_without_content(error)}"
        ) from None


def _header(image: Image.Image, head: bytes, file: BinaryIO) -> ImageHeader:
    if image.format == "PNG":
        bits, channels = head[_PNG_DEPTH_AT], _PNG_CHANNELS[head[_PNG_DEPTH_AT + 1]]
    else:
        bits, channels = _MODES.get(image.mode, (8, len(image.getbands())))
    complete = _is_complete(str(image.format), head, file)
    return ImageHeader(image.width, image.height, bits, channels, sufficient=complete)


def _is_complete(name: str, head: bytes, file: BinaryIO) -> bool:
    """Whether a file surely ends where its format says; formats without an end are not complete."""
    size = file.seek(0, io.SEEK_END)
    if name in _ENDINGS:
        file.seek(max(0, size - len(_ENDINGS[name])))
        return file.read() == _ENDINGS[name]
    if name in _LENGTH_AT:
        start, rest = _LENGTH_AT[name]
        return int.from_bytes(head[start : start + 4], "little") + rest <= size
    return False


def _tiff_header(file: BinaryIO) -> ImageHeader:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        palette = page.photometric == _PALETTE
        return ImageHeader(
            width=int(page.imagewidth),
            height=int(page.imagelength),
            bits=int(page.bitspersample),
            channels=3 if palette else int(page.samplesperpixel),
            floating=page.dtype is not None and page.dtype.kind == "f",
            sufficient=_has_pixels(page, file),
        )


def _has_pixels(page: Any, file: BinaryIO) -> bool:  # noqa: ANN401
    """Whether a page of integers is of a kind that can be read, and all of it is in the file."""
    parts = zip(page.dataoffsets, page.databytecounts, strict=False)
    end = max((start + count for start, count in parts), default=0)
    return bool(
        page.dtype is not None
        and page.dtype.kind in "biu"
        and page.dtype.itemsize <= _MOST_INTEGER_BYTES
        and page.samplesperpixel <= MOST_CHANNELS
        and page.compression in COMPRESSIONS
        and 0 < end <= file.seek(0, io.SEEK_END)
    )
