from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
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

from fusion_core.errors import ImageDecodeError, InvalidValueError
from fusion_core.images.bit_depth import to_eight_bit
from fusion_core.images.decoding import decode_four_channel, decode_image

Pixels = NDArray[Any]

GRAY, RGB = noise(13, 17, seed=1), noise(13, 17, 3, seed=2)
DEEP_GRAY = noise(13, 17, seed=3, dtype=np.uint16)
DEEP_RGB = noise(13, 17, 3, seed=4, dtype=np.uint16)
DEEP_FOUR = noise(13, 17, 4, seed=5, dtype=np.uint16)
FOUR = noise(13, 17, 4, seed=6)
NINE = noise(13, 17, 9, seed=7, dtype=np.uint16)


def smooth() -> Pixels:
    """A scene that JPEG keeps well."""
    y, x = np.mgrid[0:32, 0:48]
    return np.stack([4 * x + y, 100 + 3 * y, 220 - 2 * x - y], axis=-1).astype(np.uint8)


def assert_same(found: Pixels, expected: Pixels) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


LOSSLESS: dict[str, tuple[bytes, Pixels]] = {
    "PNG gray": (pillow_file(GRAY, "PNG"), GRAY),
    "PNG RGB": (pillow_file(RGB, "PNG"), RGB),
    "BMP gray": (pillow_file(GRAY, "BMP"), GRAY),
    "BMP RGB": (pillow_file(RGB, "BMP"), RGB),
    "TIFF gray": (pillow_file(GRAY, "TIFF"), GRAY),
    "TIFF RGB": (pillow_file(RGB, "TIFF"), RGB),
    "TIFF RGB LZW": (pillow_file(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "TIFF RGB deflate": (pillow_file(RGB, "TIFF", compression="tiff_deflate"), RGB),
    "TIFF RGB packbits": (pillow_file(RGB, "TIFF", compression="packbits"), RGB),
    "TIFF RGB big-endian": (tiff_file(RGB, byteorder=">"), RGB),
    "TIFF gray tiles": (tiff_file(GRAY, tile=(16, 16)), GRAY),
    "TIFF RGB planes": (tiff_file(np.moveaxis(RGB, -1, 0), planarconfig="separate"), RGB),
    "PGM": (pnm_file(GRAY), GRAY),
    "PPM": (pnm_file(RGB), RGB),
    "PGM in text": (plain_pnm_file(GRAY), GRAY),
    "PPM in text": (plain_pnm_file(RGB), RGB),
    "WebP lossless": (pillow_file(RGB, "WEBP", lossless=True), RGB),
    "JPEG 2000 gray": (bytes(imagecodecs.jpeg2k_encode(GRAY, level=0)), GRAY),
    "JPEG 2000 RGB": (bytes(imagecodecs.jpeg2k_encode(RGB, level=0)), RGB),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_file_is_decoded_exactly(name: str) -> None:
    data, pixels = LOSSLESS[name]
    assert_same(decode_image(data), pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_file_is_decoded_closely(file_format: str) -> None:
    found = decode_image(pillow_file(smooth(), file_format, quality=95))
    assert np.abs(found.astype(int) - smooth()).max() <= 10


def test_progressive_jpeg_is_decoded_like_a_baseline_one() -> None:
    baseline, progressive = (
        decode_image(pillow_file(smooth(), "JPEG", quality=95, progressive=flag))
        for flag in (False, True)
    )
    assert_same(progressive, baseline)


def test_gray_jpeg_stays_gray() -> None:
    gray = smooth()[..., 0]
    found = decode_image(pillow_file(gray, "JPEG", quality=95))
    assert found.shape == gray.shape
    assert np.abs(found.astype(int) - gray).max() <= 6


def test_picture_of_several_jpegs_is_decoded_to_its_first() -> None:
    first, second = Image.fromarray(smooth()), Image.fromarray(255 - smooth())
    data = save_pillow(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(decode_image(data).astype(int) - smooth()).max() <= 10


@pytest.mark.parametrize("options", [{}, {"transparency": 3}], ids=["opaque", "transparent"])
@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_palette_becomes_rgb(file_format: str, options: dict[str, int]) -> None:
    indices = Image.fromarray(GRAY % np.uint8(7))
    indices.putpalette(RGB.ravel()[:21].tolist())
    found = decode_image(save_pillow(indices, file_format, **options))
    assert_same(found, RGB.ravel()[:21].reshape(7, 3)[GRAY % 7])


ONE_BIT: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: save_pillow(image, "PNG"),
    "BMP": lambda image: save_pillow(image, "BMP"),
    "TIFF": lambda image: save_pillow(image, "TIFF"),
    "TIFF fax": lambda image: save_pillow(image, "TIFF", compression="group4"),
    "PBM": lambda image: save_pillow(image, "PPM"),
}


@pytest.mark.parametrize("name", ONE_BIT)
def test_one_bit_image_becomes_black_and_white(name: str) -> None:
    image = Image.fromarray(GRAY > 99)
    assert image.mode == "1"
    assert_same(decode_image(ONE_BIT[name](image)), np.where(GRAY > 99, 255, 0).astype(np.uint8))


def test_four_gray_levels_of_two_bits_span_black_to_white() -> None:
    levels = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    image = Image.fromarray(levels)
    image.putpalette([0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255])
    found = decode_image(save_pillow(image, "PNG", bits=2))
    assert found.reshape(4, -1)[:, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_alpha_of_a_gray_image_is_dropped(file_format: str) -> None:
    image = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(FOUR[..., 3])])
    assert_same(decode_image(save_pillow(image, file_format)), GRAY)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_alpha_of_a_colour_image_is_dropped_and_colours_stay(file_format: str) -> None:
    transparent = FOUR.copy()
    transparent[:5, :, 3] = 0
    assert_same(decode_image(pillow_file(transparent, file_format)), FOUR[..., :3])


def test_cmyk_jpeg_becomes_rgb() -> None:
    image = Image.fromarray(smooth()).convert("CMYK")
    found = decode_image(save_pillow(image, "JPEG", quality=95))
    assert np.abs(found.astype(int) - smooth()).max() <= 12


def test_cmyk_tiff_becomes_rgb() -> None:
    data = save_pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF")
    assert np.abs(decode_image(data).astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("image", [GRAY, DEEP_GRAY], ids=["8-bit", "16-bit"])
def test_tiff_that_stores_white_as_zero_is_turned_round(image: Pixels, photometric: str) -> None:
    stored = image if photometric == "minisblack" else np.invert(image)
    assert_same(decode_image(tiff_file(stored, photometric=photometric)), image)


DEEP_PNG = {
    "gray": (DEEP_GRAY, DEEP_GRAY),
    "gray and alpha": (DEEP_FOUR[..., :2], DEEP_FOUR[..., 0]),
    "RGB": (DEEP_RGB, DEEP_RGB),
    "RGBA": (DEEP_FOUR, DEEP_FOUR[..., :3]),
}


@pytest.mark.parametrize("name", DEEP_PNG)
def test_deep_png_keeps_all_bits(name: str) -> None:
    stored, pixels = DEEP_PNG[name]
    assert_same(decode_image(deep_png(stored)), pixels)


DEEP_TIFF_LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 4},
    "tiles": {"tile": (16, 16)},
    "LZW": {"compression": "lzw", "rowsperstrip": 4},
    "LZW with predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "deflate"},
    "packbits": {"compression": "packbits"},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize("layout", DEEP_TIFF_LAYOUTS)
def test_deep_tiff_keeps_all_bits(layout: str) -> None:
    for image in (DEEP_GRAY, DEEP_RGB):
        for byteorder in "<>":
            data = tiff_file(image, byteorder=byteorder, **DEEP_TIFF_LAYOUTS[layout])
            assert_same(decode_image(data), image)


@pytest.mark.parametrize("byteorder", ["<", ">"], ids=["little-endian", "big-endian"])
def test_deep_tiff_of_separate_planes_keeps_all_bits(byteorder: str) -> None:
    planes = np.ascontiguousarray(np.moveaxis(DEEP_RGB, -1, 0))
    data = tiff_file(planes, byteorder=byteorder, planarconfig="separate")
    assert_same(decode_image(data), DEEP_RGB)


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_fourth_channel_of_a_deep_tiff_is_dropped(extra: str) -> None:
    data = tiff_file(DEEP_FOUR, extrasamples=[extra])
    assert_same(decode_image(data), DEEP_FOUR[..., :3])


@pytest.mark.parametrize("encode", [pnm_file, plain_pnm_file], ids=["binary", "text"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7)], ids=str)
def test_tiny_ppm_of_eight_bits_is_decoded(
    size: tuple[int, int], encode: Callable[[Pixels], bytes]
) -> None:
    image = noise(*size, 3, seed=8)
    assert_same(decode_image(encode(image)), image)


def test_ppm_with_a_long_comment_is_decoded() -> None:
    comment = b"P6\n# " + b"made by a camera " * 200 + b"\n"
    assert_same(decode_image(pnm_file(RGB).replace(b"P6\n", comment, 1)), RGB)


def test_deep_pgm_keeps_all_bits() -> None:
    assert_same(decode_image(pnm_file(DEEP_GRAY)), DEEP_GRAY)


def test_deep_gray_jpeg_2000_keeps_all_bits() -> None:
    assert_same(decode_image(bytes(imagecodecs.jpeg2k_encode(DEEP_GRAY, level=0))), DEEP_GRAY)


@pytest.mark.parametrize(
    "encode",
    [pnm_file, plain_pnm_file, imagecodecs.jpeg2k_encode],
    ids=["PPM", "PPM in text", "JPEG 2000"],
)
def test_deep_colour_file_keeps_all_bits_or_is_refused(
    encode: Callable[[Pixels], bytes],
) -> None:
    data = bytes(encode(DEEP_RGB))
    try:
        found = decode_image(data)
    except ImageDecodeError:
        return
    assert_same(found, DEEP_RGB)


@pytest.mark.parametrize("encode", [tiff_file, deep_png, pnm_file], ids=["TIFF", "PNG", "PGM"])
def test_decoded_image_is_contiguous_and_of_native_byte_order(
    encode: Callable[[Pixels], bytes],
) -> None:
    found = decode_image(encode(DEEP_GRAY))
    assert (found.flags.c_contiguous, found.dtype.isnative) == (True, True)


@pytest.mark.parametrize("image", [GRAY, DEEP_GRAY, DEEP_RGB], ids=["gray", "deep", "deep RGB"])
def test_first_page_of_several_is_read(image: Pixels) -> None:
    assert_same(decode_image(tiff_file(np.stack([image, np.invert(image)]))), image)


def test_exif_rotation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[274] = 6  # rotate by 90 degrees
    data = save_pillow(Image.fromarray(smooth()), "JPEG", exif=exif)
    assert decode_image(data).shape == smooth().shape


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (DEEP_GRAY.astype(np.uint64), "uint64"),
        (DEEP_GRAY.astype(np.complex64), "complex64"),
    ],
    ids=["64-bit", "complex"],
)
def test_tiff_of_another_type_is_refused_by_name(image: Pixels, found: str) -> None:
    with pytest.raises(ImageDecodeError, match=f"or floating-point values, but got {found}"):
        decode_image(tiff_file(image))


@pytest.mark.parametrize(
    ("dtype", "found"),
    [(np.int8, "float32"), (np.int16, "float32"), (np.int32, "float64"), (np.uint32, "float64")],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_and_32_bit_integers_keep_their_values(dtype: type, found: str, order: Any) -> None:
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 221).astype(dtype).reshape(13, 17)
    image = decode_image(tiff_file(values, byteorder=order))
    assert image.dtype == found
    assert (image == values).all()


FLOAT_LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflate with predictor": {"compression": "deflate", "predictor": True},
    "tiles": {"tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("layout", FLOAT_LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_tiff_keeps_its_values(dtype: type, layout: str) -> None:
    for image in (DEEP_GRAY, DEEP_RGB):
        values = (image / 1000 - 30).astype(dtype)
        found = decode_image(tiff_file(values, **FLOAT_LAYOUTS[layout]))
        assert np.array_equal(found, values)
        assert (found.dtype.kind, found.shape) == ("f", image.shape)


def test_float_that_stores_white_as_zero_is_turned_round() -> None:
    values = DEEP_GRAY.astype(np.float32)
    found = to_eight_bit(decode_image(tiff_file(-values, photometric="miniswhite")))
    assert np.array_equal(found, to_eight_bit(values))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_count(value: float) -> None:
    image = DEEP_GRAY.astype(np.float32)
    image[0, :3] = value
    with pytest.raises(ImageDecodeError, match=r"3 of 221 values .* NaN or infinite; replace"):
        decode_image(tiff_file(image))


FOUR_CHANNEL: dict[str, tuple[bytes, Pixels]] = {
    "PNG": (pillow_file(FOUR, "PNG"), FOUR),
    "deep PNG": (deep_png(DEEP_FOUR), DEEP_FOUR),
    "TIFF, named alpha": (tiff_file(FOUR, extrasamples=["unassalpha"]), FOUR),
    "TIFF, not named": (tiff_file(FOUR, extrasamples=["unspecified"]), FOUR),
    "deep TIFF, named alpha": (tiff_file(DEEP_FOUR, extrasamples=["unassalpha"]), DEEP_FOUR),
    "deep TIFF, not named": (tiff_file(DEEP_FOUR, extrasamples=["unspecified"]), DEEP_FOUR),
}


@pytest.mark.parametrize("name", FOUR_CHANNEL)
def test_four_channels_are_visible_and_infrared(name: str) -> None:
    data, pixels = FOUR_CHANNEL[name]
    ir, vis = decode_four_channel(data)
    assert_same(ir, pixels[..., 3])
    assert_same(vis, pixels[..., :3])


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (pillow_file(GRAY, "PNG"), 1),
        (save_pillow(Image.fromarray(RGB).convert("LA"), "PNG"), 2),
        (pillow_file(RGB, "PNG"), 3),
        (deep_png(DEEP_RGB), 3),
        (pillow_file(smooth(), "JPEG"), 3),
    ],
    ids=["gray", "gray and alpha", "RGB", "deep RGB", "JPEG"],
)
def test_file_without_four_channels_is_refused(data: bytes, channels: int) -> None:
    with pytest.raises(ImageDecodeError, match=f"Expected 4 channels .*but got {channels}$"):
        decode_four_channel(data)


@pytest.mark.parametrize("decode", [decode_image, decode_four_channel])
def test_tiff_of_more_than_four_channels_is_refused(decode: Callable[[bytes], Any]) -> None:
    data = tiff_file(NINE, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageDecodeError, match=r"4 channels, but got 9; select a band with --band"):
        decode(data)


# Bands

GDAL = "".join(
    f'<Item name="DESCRIPTION" sample="{number}" role="description">{name}</Item>'
    for number, name in enumerate(["blue", "green", "red", "", "NIR &amp; edge"])
)
BANDS: dict[str, bytes] = {
    "contiguous": tiff_file(NINE, photometric="minisblack", planarconfig="contig"),
    "planes": tiff_file(np.moveaxis(NINE, -1, 0), photometric="minisblack",
                        planarconfig="separate"),
    "pages": tiff_file(np.moveaxis(NINE, -1, 0), photometric="minisblack"),
    "named": tiff_file(
        NINE, photometric="minisblack", planarconfig="contig",
        extratags=[(42112, "s", 0, f"<GDALMetadata>{GDAL}</GDALMetadata>", True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BANDS)
def test_a_band_is_selected_by_its_number(kind: str) -> None:
    for number in (1, 2, 9):
        assert_same(decode_image(BANDS[kind], bands=str(number)), NINE[..., number - 1])


@pytest.mark.parametrize("kind", BANDS)
def test_three_bands_are_a_colour_image_in_their_order(kind: str) -> None:
    assert_same(decode_image(BANDS[kind], bands="3, 2,1"), NINE[..., [2, 1, 0]])


def test_a_band_is_selected_by_its_name() -> None:
    assert_same(decode_image(BANDS["named"], bands="nir & EDGE"), NINE[..., 4])
    assert_same(decode_image(BANDS["named"], bands="red,green,blue"), NINE[..., [2, 1, 0]])


def test_a_page_is_selected_by_its_name() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for name, page in (("red", GRAY), ("nir", 255 - GRAY)):
            writer.write(page, extratags=[(285, "s", 0, name, True)], contiguous=False)
    assert_same(decode_image(buffer.getvalue(), bands="NIR"), 255 - GRAY)
    assert_same(decode_image(buffer.getvalue()), GRAY)


@pytest.mark.parametrize(
    ("data", "band", "message"),
    [
        (BANDS["contiguous"], "10", r"no band '10': the image has 9$"),
        (BANDS["pages"], "10", r"no band '10': the image has 9$"),
        (BANDS["pages"], "0", r"no band '0'"),
        (BANDS["named"], "swir", r"no band 'swir': .* has 9 \(blue, green, red, \?, NIR & edge"),
        (pillow_file(GRAY, "PNG"), "2", r"no band '2': the image has 1$"),
    ],
)
def test_a_band_that_does_not_exist_is_refused(data: bytes, band: str, message: str) -> None:
    with pytest.raises(ImageDecodeError, match=message):
        decode_image(data, bands=band)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_a_channel_of_any_file_is_a_band(file_format: str) -> None:
    assert_same(decode_image(pillow_file(RGB, file_format), bands="2"), RGB[..., 1])


@pytest.mark.parametrize("bands", ["1,2", "1,2,3,4", "", "1,,3"])
def test_another_number_of_bands_is_refused(bands: str) -> None:
    with pytest.raises(InvalidValueError, match="one band, or three"):
        decode_image(BANDS["contiguous"], bands=bands)


def test_names_of_bands_are_listed_where_one_must_be_selected() -> None:
    with pytest.raises(ImageDecodeError, match=r"got 9 \(1 blue, 2 green, 3 red, 5 NIR & edge\)"):
        decode_image(BANDS["named"])


def test_pages_of_different_sizes_are_no_colour_image() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in (GRAY, GRAY, GRAY[1:]):
            writer.write(page)
    with pytest.raises(ImageDecodeError, match="differ in size"):
        decode_image(buffer.getvalue(), bands="1,2,3")


def test_size_of_all_bands_is_limited() -> None:
    data = tiff_file(noise(8, 8, 40), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageDecodeError, match=r"40 bands of 8x8 .* over the limit of 1024 bytes"):
        decode_image(data, bands="1", max_pixels=64)


def test_other_values_than_those_of_the_band_do_not_matter() -> None:
    image = NINE.astype(np.float32)
    image[..., 0] = np.nan
    data = tiff_file(image, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(decode_image(data, bands="2"), NINE[..., 1])
