"""Files that are decoded without Pillow, to the same pixels; of damaged ones Pillow judges."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.reference_files import noise, pillow_file, save_pillow

from fusion_core.errors import ImageDecodeError
from fusion_core.images import decode_image, decoding, synthetic_pair
from fusion_core.images.jpeg import decode_plain_jpeg

Pixels = NDArray[Any]

SCENE = synthetic_pair(45, 67, seed=1)[1]
END_OF_IMAGE = b"\xff\xd9"


def by_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.fixture
def pillow_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image) -> Pixels:
        raise AssertionError("decoded by Pillow")

    monkeypatch.setattr(decoding, "_pillow_pixels", fail)


def outcome(data: bytes) -> Pixels | str:
    try:
        return decode_image(data)
    except ImageDecodeError as error:
        return str(error)


@pytest.fixture
def decoded_like_pillow(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], bool]:
    """Check that pixels or message are those without the fast path; return whether it was taken."""
    original = decoding._fast_pixels

    def check(data: bytes) -> bool:
        taken = []

        def record(*arguments: Any) -> Pixels | None:
            pixels = original(*arguments)
            taken.append(pixels is not None)
            return pixels

        monkeypatch.setattr(decoding, "_fast_pixels", record)
        found = outcome(data)
        monkeypatch.setattr(decoding, "_fast_pixels", lambda data, image: None)
        expected = outcome(data)
        assert type(found) is type(expected)
        assert np.array_equal(found, expected)
        return any(taken)

    return check


JPEG_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "low quality": {"quality": 20},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "comment": {"comment": b"\xff\xd8\xff\xda\xff\xd9"},
    "RGB": {"keep_rgb": True},
}


@pytest.mark.usefixtures("pillow_unused")
@pytest.mark.parametrize("image", [SCENE, SCENE[..., 0], noise(1, 1, 3)], ids=str)
@pytest.mark.parametrize("name", JPEG_OPTIONS)
def test_a_plain_jpeg_has_the_pixels_of_pillow(name: str, image: Pixels) -> None:
    data = pillow_file(image, "JPEG", **JPEG_OPTIONS[name])
    found = decode_image(data)
    assert found.dtype == np.uint8
    assert np.array_equal(found, by_pillow(data))


@pytest.mark.usefixtures("pillow_unused")
def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    data = pillow_file(SCENE, "JPEG")
    for tail in (b"\0" * 50, data):
        assert np.array_equal(decode_image(data + tail), by_pillow(data))


OTHER_JPEGS = {
    "progressive": pillow_file(SCENE, "JPEG", progressive=True),
    "CMYK": save_pillow(Image.fromarray(SCENE).convert("CMYK"), "JPEG"),
    "no end": pillow_file(SCENE, "JPEG")[: -len(END_OF_IMAGE)],
    "fill bytes": pillow_file(SCENE, "JPEG").replace(b"\xff\xdb", b"\xff\xff\xdb", 1),
}


@pytest.mark.parametrize("name", OTHER_JPEGS)
def test_another_jpeg_is_decoded_by_pillow(
    name: str, decoded_like_pillow: Callable[[bytes], bool]
) -> None:
    assert not decoded_like_pillow(OTHER_JPEGS[name])


def test_fill_bytes_do_not_hide_the_cut_of_a_jpeg(
    decoded_like_pillow: Callable[[bytes], bool],
) -> None:
    # Read without regard to the fill byte, the comment ends at a scan that is complete.
    frame, scan = b"\xff\xc0\0\2", b"\xff\xda\0\2"
    comment = bytes(0xFEFF - 3) + frame + scan + END_OF_IMAGE
    segment = b"\xff\xff\xfe\xff\xf0" + comment.ljust(0xFFF0 - 2, b"\0")
    data = pillow_file(noise(64, 64, 3), "JPEG", quality=95)
    assert not decoded_like_pillow(data[:2] + segment + data[2:])
    cut = data[:2] + segment + data[2:-200]
    assert decode_plain_jpeg(cut) is None
    with pytest.raises(ImageDecodeError, match="damaged or truncated"):
        decode_image(cut)


def test_a_truncated_jpeg_is_refused() -> None:
    data = pillow_file(noise(64, 64, 3), "JPEG", quality=95)
    scan = data.index(b"\xff\xda")
    for length in range(scan + 20, len(data) - 200, 97):
        assert decode_plain_jpeg(data[:length]) is None
        with pytest.raises(ImageDecodeError, match="damaged or truncated"):
            decode_image(data[:length])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_jpegs_have_the_outcome_of_pillow(
    seed: int, decoded_like_pillow: Callable[[bytes], bool]
) -> None:
    generator = random.Random(seed)
    options: dict[str, Any] = {"restart_marker_blocks": 3} if seed % 2 else {}
    original = pillow_file(SCENE if seed < 2 else SCENE[..., 0], "JPEG", **options)
    taken = {decoded_like_pillow(corrupted(original, generator)) for _ in range(100)}
    assert taken == {True, False}


def corrupted(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 3, 10))):
        changed[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(changed)
