from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image
from support.reference_files import noise

from fusion_core.errors import InvalidValueError
from fusion_core.images import encode_png, encoding, synthetic_pair

Pixels = NDArray[Any]


def read_by_pillow(data: bytes) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(io.BytesIO(data)) as image:
            image.verify()  # the checksums
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            return np.asarray(image)


def read_by_torchvision(data: bytes) -> Pixels:
    read = torchvision.io.decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    pixels = read.permute(1, 2, 0).numpy()
    return np.asarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


READERS: list[Callable[[bytes], Pixels]] = [
    read_by_pillow,
    read_by_torchvision,
    imagecodecs.png_decode,
]


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (1, 9), (6, 9, 3), (3, 1, 3)], ids=str)
def test_encoded_png_is_lossless_whoever_reads_it(
    read: Callable[[bytes], Pixels], shape: tuple[int, ...]
) -> None:
    image = noise(*shape, seed=3)
    for level in (0, 1, 6, 12):
        found = read(encode_png(image, compress_level=level))
        assert found.dtype == np.uint8
        assert np.array_equal(found, image)


def test_parts_of_images_are_encoded_like_copies() -> None:
    image = noise(20, 30, 3, seed=3)
    for part in (image[::2, ::-1], image.transpose(1, 0, 2), image[..., 1]):
        assert encode_png(part) == encode_png(part.copy())
        assert np.array_equal(read_by_pillow(encode_png(part)), part)


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "colour"])
def test_encoded_png_is_about_as_small_as_that_of_pillow(colour: bool) -> None:
    _, image = synthetic_pair(240, 320, seed=1, colour=colour)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    assert len(encode_png(image)) < 1.1 * len(buffer.getvalue())
    assert len(encode_png(image, compress_level=9)) < len(encode_png(image)) < image.size


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
def test_large_png_is_split_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(50, 60, seed=3)
    whole = encode_png(image)
    monkeypatch.setattr(encoding, "_LARGEST_CHUNK", 1000)
    parts = encode_png(image)
    assert (whole.count(b"IDAT"), parts.count(b"IDAT")) == (1, 4)
    for read in READERS:
        assert np.array_equal(read(parts), image)


@pytest.mark.parametrize(
    "image",
    [noise(5, 6, dtype=np.uint16), noise(5, 6, 4), noise(5, 6, 2), noise(5), np.zeros((2, 2))],
    ids=["16 bits", "four channels", "two channels", "a row", "floating point"],
)
def test_another_type_or_shape_is_refused(image: Pixels) -> None:
    with pytest.raises(InvalidValueError, match=r"shape \(H, W\) or \(H, W, 3\), but got"):
        encode_png(image)
