"""Decoding of image files from untrusted sources."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from fusion_core.choices import DEFAULT_MAX_PIXELS
from fusion_core.errors import ImageDecodeError, InvalidValueError, reason_without_content
from fusion_core.images.bands import select_bands
from fusion_core.images.effort import check_effort, without_comments
from fusion_core.images.jpeg import decode_plain_jpeg
from fusion_core.images.limits import (
    Pixels,
    check_depth,
    check_finite,
    check_pixel_count,
    check_tiles,
)
from fusion_core.images.png import PNG_SIGNATURE, decode_plain_png
from fusion_core.images.refusals import describe_unreadable
from fusion_core.images.tiff import TIFF_SIGNATURES, decode_tiff, tiff_size

READABLE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000")
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, RuntimeError,
    TypeError, AttributeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""Errors that the decoders raise on damaged files."""
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 277, 339  # TIFF tags
_SIGNED = 2
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_PNG_MANY_CHANNELS = (2, 4, 6)  # colour types RGB, gray + alpha, RGBA


def decode_image(
    data: bytes, *, bands: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Pixels:
    """Decode one image file.

    Palette and CMYK images are converted to RGB, and one-bit images to 0 and 255. An alpha channel
    is dropped. An EXIF rotation is not applied, because registration refers to the stored pixels.
    Of several pages the first one is read, unless bands are selected.

    Args:
        data: The whole file.
        bands: Number (from 1) or name of the band to read, or of three separated by commas. Names
            are those that GDAL writes into a TIFF file, or those of its pages.
        max_pixels: Largest accepted width x height, checked before decoding.

    Returns:
        `(H, W)` or `(H, W, 3)`, uint8, or uint16 or floating-point if the file has more than 8
        bits.

    Raises:
        ImageDecodeError: The bytes are empty, truncated, too large or not a readable image, a band
            does not exist, or floating-point values are NaN or infinite.
        InvalidValueError: Neither one nor three bands are selected.

    >>> from fusion_core.images.encoding import encode_png
    >>> decode_image(encode_png(np.uint8([[0, 255]]))).tolist()
    [[0, 255]]
    """
    image = _decode(data, max_pixels, bands)
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] <= 2 else image[..., :3]
    check_finite(image)
    return np.ascontiguousarray(image)


def decode_four_channel(
    data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> tuple[Pixels, Pixels]:
    """Decode a file whose first three channels are the visible and the fourth the infrared image.

    The MFNet collection is stored in this format.

    Args:
        data: The whole file.
        max_pixels: Largest accepted width x height.

    Returns:
        Infrared `(H, W)` and visible `(H, W, 3)`.

    Raises:
        ImageDecodeError: As `decode_image`, or the image does not have four channels.
    """
    image = _decode(data, max_pixels)
    if image.ndim != 3 or image.shape[2] != 4:
        found = 1 if image.ndim == 2 else image.shape[2]
        raise ImageDecodeError(
            f"Expected 4 channels (RGB and infrared) in one image, but got {found}"
        )
    check_finite(image)
    return np.ascontiguousarray(image[..., 3]), np.ascontiguousarray(image[..., :3])


def count_pixels(data: bytes) -> int:
    """Return width times height as the header of an image file states, or 0 if none can be read.

    >>> from fusion_core.images.encoding import encode_png
    >>> count_pixels(encode_png(np.zeros((2, 3), np.uint8))), count_pixels(b"text")
    (6, 0)
    """
    try:
        image = _open(data)
        if image is not None:
            return image.width * image.height
        width, height = tiff_size(data)
        return width * height
    except (ImageDecodeError, Image.DecompressionBombError, *DECODER_ERRORS):
        return 0


def _decode(data: bytes, max_pixels: int, bands: str | None = None) -> Pixels:
    """Return all channels of the file, or the bands that are selected: `(H, W)` or `(H, W, C)`."""
    if not data:
        raise ImageDecodeError("The file is empty (0 bytes)")
    try:
        image = _open(data)
        if image is None or _needs_tifffile(image) or (bands and _has_pages(image)):
            return decode_tiff(data, max_pixels, bands)
        check_pixel_count(image.width, image.height, max_pixels)
        pixels = _decode_single(data, image, max_pixels)
        return pixels if bands is None else select_bands(pixels, bands)
    except (ImageDecodeError, InvalidValueError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageDecodeError(f"The image is too large to be decoded safely: {error}") from None
    except DECODER_ERRORS as error:
        raise ImageDecodeError(
            f"The image is damaged or truncated: {reason_without_content(error)}"
        ) from None


def _decode_single(data: bytes, image: Image.Image, max_pixels: int) -> Pixels:
    """Return all channels of a file that Pillow has opened."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        check_tiles(tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1), max_pixels)
    if _is_deep_png(data):
        return np.asarray(imagecodecs.png_decode(data))
    if image.format == "JPEG2000":
        pixels = np.asarray(imagecodecs.jpeg2k_decode(data))
        check_depth(pixels.dtype)
        return pixels
    _refuse_deep_ppm(image)
    plain = _fast_pixels(data, image)
    return _pillow_pixels(image) if plain is None else plain


_FAST_DECODERS = {"JPEG": decode_plain_jpeg, "PNG": decode_plain_png}


def _fast_pixels(data: bytes, image: Image.Image) -> Pixels | None:
    """Decode a file that is complete and ordinary without Pillow; otherwise return None.

    What is damaged, and why, is for Pillow to say.
    """
    decode = _FAST_DECODERS.get(image.format or "")
    if decode is None or image.mode not in ("L", "RGB"):
        return None
    try:
        pixels = decode(data)
    except DECODER_ERRORS:
        return None
    channels = () if image.mode == "L" else (3,)
    expected = (image.height, image.width, *channels)
    return pixels if pixels is not None and pixels.shape == expected else None


def _open(data: bytes) -> Image.Image | None:
    """Read the header of a file; return None for a TIFF that Pillow does not support."""
    check_effort(data)
    try:
        return Image.open(io.BytesIO(without_comments(data)), formats=READABLE_FORMATS)
    except UnidentifiedImageError:
        if data.startswith(TIFF_SIGNATURES):
            return None
        raise ImageDecodeError(describe_unreadable(data, READABLE_FORMATS)) from None


def _needs_tifffile(image: Image.Image) -> bool:
    """Whether Pillow would reduce a TIFF to 8 bits or to 3 channels, or ignore the signs."""
    if image.format != "TIFF" or image.mode == "CMYK":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, samples = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLES_PER_PIXEL, 1)
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    return bool(max(bits) > 8 or samples > 3 or signed)


def _has_pages(image: Image.Image) -> bool:
    """Whether a file has several pages of one band each."""
    return (
        image.format == "TIFF"
        and len(image.getbands()) == 1
        and image.mode != "P"
        and getattr(image, "n_frames", 1) > 1
    )


def _refuse_deep_ppm(image: Image.Image) -> None:
    """Reject a 16-bit colour PPM, which Pillow would reduce to 8 bits."""
    if image.format != "PPM" or image.mode != "RGB":
        return
    tile = image.tile[0]  # type: ignore[attr-defined]
    # The last argument of other codecs is the largest level.
    if tile.codec_name != "raw" and tile.args[-1] > 255:
        raise ImageDecodeError(
            "Expected 8 bits per channel in a colour PPM, but got 16; convert the image to 16-bit "
            "PNG or TIFF"
        )


def _pillow_pixels(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
            raise ImageDecodeError("Expected 8 or 16 bits per pixel, but got 32-bit integers")
        return pixels.astype(np.uint16)
    if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
        image = image.convert("RGB")
    elif image.mode in ("1", "La"):
        image = image.convert("L")
    return np.asarray(image)


def _is_deep_png(data: bytes) -> bool:
    """Whether a PNG has several channels of 16 bits, which Pillow would reduce to 8."""
    return data.startswith(PNG_SIGNATURE) and data[24] == 16 and data[25] in _PNG_MANY_CHANNELS
