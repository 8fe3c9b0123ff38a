"""Files that are ignored, and images in several formats."""

from __future__ import annotations

import pytest
from support.discoveries import LABELS, OTHER_FORMAT, halves

from cluster.collections.layouts import find_pairs


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("ir/Thumbs.db", "Thumbs.db and system files"),
        ("ir/desktop.ini", "Thumbs.db and system files"),
        (".DS_Store", "Thumbs.db and system files"),
        ("ir/._1.png", "macOS resource forks (._*)"),
        ("__MACOSX/ir/1.png", "macOS resource forks (._*)"),
        ("ir/.hidden.png", "hidden files (.*)"),
        (".cache/1.png", "hidden files (.*)"),
        ("Labels/1.png", LABELS),
        ("a/Mask/b/1.png", LABELS),
        ("GT/1.png", LABELS),
        ("night_masks/1.png", LABELS),
        ("a/1_mask.png", LABELS),
        ("a/1_Labels.png", LABELS),
        ("a/1-gt.png", LABELS),
        ("a/gt.png", LABELS),
        ("readme", "not images"),
        ("a/1.mp4", "not images"),
        ("a/1.png.txt", "not images"),
        ("folder/", "not images"),
    ],
)
def test_file_is_ignored_for_its_reason(key: str, reason: str) -> None:
    found = find_pairs([key])
    assert (found.ignored, found.single) == ({reason: 1}, [])


def test_names_that_only_contain_a_label_word_are_images() -> None:
    keys = ["labelled/1.png", "unmasked.png", "gt40.png", "mask_on.png"]
    assert find_pairs(keys).single == sorted(keys)


@pytest.mark.parametrize(
    "extension",
    ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "jp2", "ppm", "pgm", "pnm", "JPG", "TiF"],
)
def test_extension_is_an_image(extension: str) -> None:
    assert len(find_pairs([f"ir/1.{extension}", "vis/1.png"]).pairs) == 1


# Several formats of one image


@pytest.mark.parametrize(
    ("infrared", "visible", "chosen"),
    [
        ("png", "png jpg", "png png"),
        ("jpg", "png jpg", "jpg jpg"),
        ("bmp", "png jpg", "bmp png"),
        ("jpg", "tif bmp", "jpg tif"),
        ("png jpg", "png jpg", "png png"),
        ("jpeg", "jpg png", "jpeg jpg"),
        ("webp jpg", "bmp", "webp bmp"),
    ],
)
def test_format_that_both_halves_have_is_taken_and_else_a_lossless_one(
    infrared: str, visible: str, chosen: str
) -> None:
    irs = [f"IR1.{extension}" for extension in infrared.split()]
    vis = [f"VIS1.{extension}" for extension in visible.split()]
    found = find_pairs(irs + vis)
    ir_format, vis_format = chosen.split()
    assert halves(found) == [(f"IR1.{ir_format}", f"VIS1.{vis_format}")]
    assert found.ignored.get(OTHER_FORMAT, 0) == len(irs) + len(vis) - 2
    assert found.single == []


def test_formats_of_an_image_without_partner_are_all_single() -> None:
    assert find_pairs(["ir/1.png", "ir/1.jpg"]).single == ["ir/1.jpg", "ir/1.png"]
