"""Layouts: which words and folders name the halves of a pair."""

from __future__ import annotations

import pytest
from support.discoveries import halves, ids, png_head

from cluster.collections.layouts import Discovery, Layout, Pair, find_pairs
from fusion_core.errors import InvalidValueError


def no_reading(key: str) -> bytes:
    raise AssertionError(f"{key} was read")


# Sister folders


@pytest.mark.parametrize(
    "word",
    [
        "ir",
        "Infrared",
        "THERMAL",
        "lwir",
        "SWIR",
        "nir",
        "FIR",
        "tir",
        "inf",
        "T",
        "cropinfrared",
        "thermal_8_bit",
    ],
)
def test_folder_word_means_infrared(word: str) -> None:
    assert ids(find_pairs([f"{word}/1.png", "vis/1.png"])) == ["1"]


@pytest.mark.parametrize("word", ["vi", "VIS", "Visible", "rgb", "crop_LR_visible"])
def test_folder_word_means_visible(word: str) -> None:
    assert ids(find_pairs(["ir/1.png", f"{word}/1.png"])) == ["1"]


@pytest.mark.parametrize(
    ("ir", "vis"),
    [
        ("_ir", "_vi"),
        ("-ir", "-vis"),
        ("_infrared", "_visible"),
        ("_thermal", "-RGB"),
        ("_lwir", "_rgb"),
    ],
)
def test_folder_suffix_names_the_modality(ir: str, vis: str) -> None:
    found = find_pairs([f"a/Night{ir}/1.png", f"a/Night{vis}/1.png"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [("a/Night/1", "a/Night")]


def test_sister_folders_match_without_regard_to_letter_case() -> None:
    found = find_pairs(["Scene/IR/A01.PNG", "scene/vis/a01.Jpg"])
    assert found.pairs == [Pair("Scene/A01", "Scene/IR/A01.PNG", "scene/vis/a01.Jpg", "Scene")]


def test_names_that_differ_only_in_letter_case_meet_their_own_spelling() -> None:
    found = find_pairs(["ir/a.png", "ir/A.png", "vis/A.png", "vis/a.png"])
    assert halves(found) == [("ir/A.png", "vis/A.png"), ("ir/a.png", "vis/a.png")]


def test_accents_match_however_they_are_composed() -> None:
    assert len(find_pairs(["ir/caf\u00e9.png", "vis/cafe\u0301.png"]).pairs) == 1


def test_deepest_modality_folder_wins() -> None:
    found = find_pairs(
        ["RGB/thermal/x.png", "RGB/visible/x.png", "VIS_set/ir/a.png", "VIS_set/vis/a.png"]
    )
    assert halves(found) == [
        ("RGB/thermal/x.png", "RGB/visible/x.png"),
        ("VIS_set/ir/a.png", "VIS_set/vis/a.png"),
    ]
    assert ids(found) == ["RGB/x", "VIS_set/a"]


def test_shallower_modality_folder_is_used_when_the_deepest_has_no_partner() -> None:
    found = find_pairs(["thermal/rgb/x.png", "visible/rgb/x.png"])
    assert halves(found) == [("thermal/rgb/x.png", "visible/rgb/x.png")]
    assert found.pairs[0].subset == "rgb"


def test_splits_never_mix() -> None:
    found = find_pairs(["train/ir/1.png", "test/vis/1.png"])
    assert (found.pairs, len(found.single)) == ([], 2)


def test_second_visible_folder_stays_single() -> None:
    found = find_pairs(["ir/1.png", "rgb/1.png", "vis/1.png"])
    assert (len(found.pairs), len(found.single)) == (1, 1)


def test_color_folder_without_infrared_and_visible_sisters_is_not_a_label() -> None:
    found = find_pairs(["ir/1.png", "color/1.png"])
    assert (found.single, found.ignored) == (["color/1.png", "ir/1.png"], {})


# Prefix, suffix, infix


@pytest.mark.parametrize("name", ["{}7", "{}_7", "{}-7", "{} 7"])
def test_prefix_is_followed_by_a_separator_or_a_digit(name: str) -> None:
    found = find_pairs([f"a/{name.format(word)}.png" for word in ("Thermal", "rgb")])
    assert (ids(found), found.matched) == (["a/7"], {"prefix": 1})


def test_bare_modality_names_take_the_folder_as_id() -> None:
    found = find_pairs(["s1/ir.png", "s1/vis.png", "s2/ir.png", "s2/vis.png"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [("s1", "s1"), ("s2", "s2")]


def test_bare_modality_names_at_the_root_have_an_id() -> None:
    assert ids(find_pairs(["ir.png", "vis.png"])) == ["ir"]


def test_numbered_files_without_partner_are_never_paired_with_each_other() -> None:
    found = find_pairs(["IR1.png", "VIS1.png", "IR2.png", "VIS3.png"])
    assert (ids(found), found.single) == (["1"], ["IR2.png", "VIS3.png"])


def test_trailing_letters_that_distinguish_views_are_not_removed() -> None:
    found = find_pairs([f"{name}.png" for name in ("IR_s_a", "IR_s_b", "VIS_s_a", "VIS_s_c")])
    assert (ids(found), found.single) == (["s_a"], ["IR_s_b.png", "VIS_s_c.png"])


def test_suffix_t_means_thermal() -> None:
    assert ids(find_pairs(["p/7_t.png", "p/7_rgb.png"])) == ["p/7"]


def test_infix_takes_the_modality_word_that_has_a_partner() -> None:
    found = find_pairs(
        ["a_ir_b_rgb_1.png", "a_ir_b_ir_1.png", "c_vis_d_ir_1.png", "c_ir_d_ir_1.png"]
    )
    assert ids(found) == ["a_ir_b_1", "c_d_ir_1"]


def test_files_match_only_within_their_folder() -> None:
    assert find_pairs(["a/IR1.png", "b/VIS1.png", "a/2_ir.png", "b/2_vi.png"]).pairs == []


@pytest.mark.parametrize(
    "keys",
    [
        ["iris001.png", "visit001.png"],
        ["village3.png", "first3.png", "tree3.png"],
        ["iris/1.png", "village/1.png"],
        ["first/1.png", "visit/1.png", "tree/1.png"],
        ["air_1.png", "rgba_1.png", "levi_1.png"],
        ["1air.png", "1levi.png"],
        ["wir/1.png", "info/1.png", "rgbd/1.png"],
        ["trainimgs/1.png", "trainimgr/1.png", "img/1.png", "imgr/1.png"],
        ["logo_co.png", "logo_so.png"],
    ],
)
def test_words_that_only_begin_or_end_like_a_modality_are_not_one(keys: list[str]) -> None:
    found = find_pairs(keys)
    assert (found.pairs, found.single) == ([], sorted(keys))


@pytest.mark.parametrize(
    "part",
    ["it's", 'a "b"', "two words", "ночь", "夜景", "#1", "a::b", "50%", "a.b", "[x]", "a\nb"],
)
def test_unusual_characters_are_kept_as_they_are(part: str) -> None:
    found = find_pairs([f"{part}/ir/{part}.PNG", f"{part}/vis/{part}.PNG"])
    assert found.pairs == [
        Pair(f"{part}/{part}", f"{part}/ir/{part}.PNG", f"{part}/vis/{part}.PNG", part)
    ]


# Four channels


def test_three_channel_png_are_not_pairs() -> None:
    found = find_pairs(["images/1.png"], read_head=lambda key: png_head(2))
    assert (found.pairs, found.single) == ([], ["images/1.png"])


@pytest.mark.parametrize("head", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff" + b"\x06" * 40])
def test_head_that_is_no_png_is_not_four_channel(head: bytes) -> None:
    assert find_pairs(["images/1.png"], read_head=lambda key: head).pairs == []


def test_each_folder_is_judged_by_its_first_png() -> None:
    found = find_pairs(
        ["a/10.png", "a/2.png", "a/3.jpg", "b/1.png"],
        read_head={"a/2.png": png_head(6), "b/1.png": png_head(2)}.__getitem__,
    )
    assert (ids(found), found.single) == (["a/2", "a/10"], ["a/3.jpg", "b/1.png"])


def test_four_channels_are_not_looked_for_once_a_pair_was_found() -> None:
    found = find_pairs(["ir/1.png", "vis/1.png", "more/1.png"], read_head=no_reading)
    assert found.single == ["more/1.png"]


def test_four_channels_are_not_looked_for_without_a_reader() -> None:
    assert find_pairs(["images/1.png"]).single == ["images/1.png"]


def test_four_channel_by_name_takes_every_png_unread() -> None:
    found = find_pairs(
        ["ir/1.png", "vis/1.png", "x/2.PNG", "x/3.jpg"],
        layout="four_channel",
        read_head=no_reading,
    )
    assert halves(found) == [(key, key) for key in ("ir/1.png", "vis/1.png", "x/2.PNG")]
    assert (found.single, found.matched) == (["x/3.jpg"], {"four_channel": 3})


# Choice of layout


def test_one_collection_may_mix_layouts() -> None:
    keys = ["ir/1.png", "vis/1.png", "b/IR1.png", "b/VIS1.png", "c/1_ir.png", "c/1_vi.png"]
    keys += ["c/s_ir_1.png", "c/s_vis_1.png", "ir/IR9.png", "ir/VIS9.png"]
    found = find_pairs(keys)
    assert found.matched == {"folders": 1, "prefix": 2, "suffix": 1, "infix": 1}
    assert ids(found) == ["1", "b/1", "c/1", "c/s_1", "ir/9"]


@pytest.mark.parametrize(
    ("layout", "pair_id"),
    [("folders", "1"), ("prefix", "b/2"), ("suffix", "c/3"), ("infix", "d/s_4")],
)
def test_named_layout_is_the_only_one_tried(layout: Layout, pair_id: str) -> None:
    keys = ["ir/1.png", "vis/1.png", "b/IR2.png", "b/VIS2.png", "c/3_ir.png", "c/3_vi.png"]
    keys += ["d/s_ir_4.png", "d/s_vis_4.png"]
    found = find_pairs(keys, layout=layout, read_head=no_reading)
    assert (ids(found), found.matched, len(found.single)) == ([pair_id], {layout: 1}, 6)


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(
        InvalidValueError, match=r"Expected layout to be one of .*but got 'sideways'"
    ):
        find_pairs([], layout="sideways")  # type: ignore[arg-type]


def test_nothing_is_found_in_nothing() -> None:
    assert find_pairs([], read_head=no_reading) == Discovery([], {}, [], {})
