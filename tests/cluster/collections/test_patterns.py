"""Pairs that the user names by one pattern for each modality."""

import pytest

from cluster.collections.layouts import Discovery, Pair
from cluster.collections.layouts.globs import Glob
from cluster.collections.layouts.patterns import OUTSIDE, find_by_patterns
from fusion_core.errors import ManifestError


def halves(found: Discovery) -> list[tuple[str, str, str]]:
    return [(pair.pair_id, pair.ir_key, pair.vis_key) for pair in found.pairs]


@pytest.mark.parametrize(
    ("pattern", "key", "name"),
    [
        ("cam1", "cam1/a/07.png", "a/07"),
        ("cam1/", "cam1/07.JPG", "07"),
        (".", "07.png", "07"),
        ("./cam1", "cam1/07.png", "07"),
        ("cam1", "cam10/07.png", None),
        ("*.png", "07.png", "07"),
        ("*.png", "a/07.png", None),
        ("*", "07.tiff", "07"),
        ("**/*.png", "07.png", "07"),
        ("**/*.png", "a/b/07.png", "a/b/07"),
        ("*/ir/IR_*_x.png", "s1/ir/IR_07_x.png", "s1/07"),
        ("set?/[ab]*.png", "set3/b7.png", "3/b/7"),
        ("[!a].png", "b.png", "b"),
        ("[!a].png", "a.png", None),
        ("a+(b).png", "a+(b).png", ""),
        ("[[]1].png", "[1].png", "["),
    ],
)
def test_wildcards_stand_for_text(pattern: str, key: str, name: str | None) -> None:
    assert Glob(pattern).name_of(key) == name


def test_two_folders_are_paired_whatever_their_names() -> None:
    found = find_by_patterns(
        ["left/s1/07.png", "right/s1/07.jpg", "left/08.png", "other/1.png", "left/note.txt"],
        "left",
        "right",
    )
    assert found.pairs == [Pair("s1/07", "left/s1/07.png", "right/s1/07.jpg", "s1")]
    assert (found.matched, found.single) == ({"patterns": 1}, ["left/08.png"])
    assert found.ignored == {OUTSIDE: 1, "not images": 1}


def test_the_text_around_wildcards_may_differ() -> None:
    keys = ["flir/IR_07.png", "rgb/RGB-07-left.png", "rgb/RGB-07-right.png"]
    found = find_by_patterns(keys, "flir/IR_*.png", "rgb/RGB-*-left.png")
    assert halves(found) == [("07", "flir/IR_07.png", "rgb/RGB-07-left.png")]


def test_the_extension_can_be_the_only_difference() -> None:
    found = find_by_patterns(["a/07.png", "a/07.jpg"], "a/*.png", "a/*.jpg")
    assert halves(found) == [("07", "a/07.png", "a/07.jpg")]


def test_letter_case_does_not_matter_but_identical_spelling_comes_first() -> None:
    keys = ["ir/A.png", "ir/a.png", "vis/a.png", "vis/A.png", "ir/B.png", "vis/b.png"]
    assert halves(find_by_patterns(keys, "ir", "vis")) == [
        ("A", "ir/A.png", "vis/A.png"),
        ("B", "ir/B.png", "vis/b.png"),
        ("a", "ir/a.png", "vis/a.png"),
    ]


def test_of_several_formats_one_that_both_have_is_taken() -> None:
    found = find_by_patterns(["ir/1.jpg", "ir/1.png", "vis/1.jpg"], "ir", "vis")
    assert halves(found) == [("1", "ir/1.jpg", "vis/1.jpg")]
    assert found.ignored == {"another format of a paired image": 1}


def test_a_folder_that_is_otherwise_ignored_can_be_named() -> None:
    keys = ["cropinfrared/1.jpg", "crop_HR_visible/1.jpg", "crop_HR_visible/._1.jpg"]
    found = find_by_patterns(keys, "cropinfrared", "crop_HR_visible")
    assert (len(found.pairs), found.ignored) == (1, {"macOS resource forks (._*)": 1})


def test_equal_patterns_name_four_channel_files() -> None:
    found = find_by_patterns(["x/1.png", "x/2.png"], "x/*.png", "x/*.png")
    assert halves(found) == [("1", "x/1.png", "x/1.png"), ("2", "x/2.png", "x/2.png")]


def test_two_single_files_are_a_pair() -> None:
    found = find_by_patterns(["a.png", "b.png"], "a.png", "b.png")
    assert halves(found) == [("a", "a.png", "b.png")]


def test_a_pattern_without_a_match_is_named_with_an_image_that_there_is() -> None:
    with pytest.raises(ManifestError, match=r"--vis 'rgb/\*\.png', .*relative.*ir/1\.png"):
        find_by_patterns(["ir/1.png"], "ir", "rgb/*.png")


def test_an_image_that_both_patterns_match_is_named() -> None:
    with pytest.raises(ManifestError, match=r"--ir '\*\.png' and --vis '\*1\.png' both match 1"):
        find_by_patterns(["1.png"], "*.png", "*1.png")


def test_the_order_of_the_listing_does_not_matter() -> None:
    keys = [f"{side}/{name}.png" for side in ("ir", "vis") for name in ("b", "B", "a", "c")]
    assert find_by_patterns(keys, "ir", "vis") == find_by_patterns(keys[::-1], "ir", "vis")
