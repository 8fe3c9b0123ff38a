"""The two sources of a pair, decoded from one file or two."""

import numpy as np
import pytest
from support.reference_files import noise, pillow_file, tiff_file

from fusion_core.errors import ImageDecodeError, InvalidValueError
from fusion_core.images.pairs import Bands, decode_named, decode_pair

CUBE = noise(9, 11, 6, seed=1, dtype=np.uint16)
FILE = tiff_file(CUBE, photometric="minisblack", planarconfig="contig")
RGB, FOUR = noise(9, 11, 3, seed=2), noise(9, 11, 4, seed=3)


def test_each_image_has_its_own_bands() -> None:
    ir, vis = decode_pair(FILE, pillow_file(RGB, "PNG"), Bands(ir="6"))
    assert np.array_equal(ir, CUBE[..., 5])
    assert np.array_equal(vis, RGB)


def test_one_file_holds_both_images_in_the_selected_bands() -> None:
    ir, vis = decode_pair(FILE, None, Bands(ir="4", vis="3,2,1"))
    assert np.array_equal(ir, CUBE[..., 3])
    assert np.array_equal(vis, CUBE[..., [2, 1, 0]])


def test_the_fourth_channel_is_infrared_unless_bands_are_selected() -> None:
    data = pillow_file(FOUR, "PNG")
    ir, vis = decode_pair(data, None)
    assert np.array_equal(ir, FOUR[..., 3])
    assert np.array_equal(vis, FOUR[..., :3])
    assert np.array_equal(decode_pair(data, None, Bands("1", "2"))[0], FOUR[..., 0])


@pytest.mark.parametrize("bands", [Bands(ir="4"), Bands(vis="1,2,3")])
def test_of_one_file_the_bands_of_both_images_are_needed(bands: Bands) -> None:
    with pytest.raises(InvalidValueError, match="bands of both, or of neither"):
        decode_pair(FILE, None, bands)


def test_an_error_names_the_image() -> None:
    with pytest.raises(ImageDecodeError, match=r"^visible image: The file is empty"):
        decode_pair(FILE, b"", Bands(ir="1"))
    with pytest.raises(ImageDecodeError, match=r"^fused image: "):
        decode_named("fused", b"")
