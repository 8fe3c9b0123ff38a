from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.collections.layouts import Discovery, Layout, Pair, find_pairs
from fusion_core.errors import InvalidValueError

LABELS = "labels, masks and annotations"
OTHER_FORMAT = "another format of a paired image"


def png_head(colour_type: int) -> bytes:
    start = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes([0, 0, 2, 128, 0, 0, 1, 224, 8])
    return start + bytes([colour_type, 0, 0, 0]) + b"\x00" * 8


def ids(discovery: Discovery) -> list[str]:
    return [pair.pair_id for pair in discovery.pairs]


def halves(discovery: Discovery) -> list[tuple[str, str]]:
    return [(pair.ir_key, pair.vis_key) for pair in discovery.pairs]


def no_reading(key: str) -> bytes:
    raise AssertionError(f"{key} was read")


# The public collections


def test_tno_selection_pairs_by_prefix_and_ignores_stray_jpg_copies() -> None:
    found = find_pairs(
        [f"{word}{n}.png" for n in (1, 2, 10) for word in ("IR", "VIS")] + ["VIS1.jpg", "VIS2.jpg"]
    )
    assert halves(found) == [(f"IR{n}.png", f"VIS{n}.png") for n in (1, 2, 10)]
    assert (ids(found), found.single) == (["1", "2", "10"], [])
    assert (found.matched, found.ignored) == ({"prefix": 3}, {OTHER_FORMAT: 2})


def test_tno_figshare_pairs_halves_that_end_in_different_letters() -> None:
    found = find_pairs(
        [
            "Athena/scene/IR_meting003_g.bmp",
            "Athena/scene/VIS_meting003_r.bmp",
            "Athena/scene/readme.txt",
            "Athena/bush/IR_hei_vis_g.bmp",
            "Athena/bush/VIS_hei_vis_r.bmp",
            "Athena/helicopter/IR_helib_011.bmp",
            "Athena/helicopter/VIS_helib_011.bmp",
        ]
    )
    assert ids(found) == [
        "Athena/bush/hei_vis",
        "Athena/helicopter/helib_011",
        "Athena/scene/meting003",
    ]
    assert found.pairs[2].subset == "Athena/scene"
    assert (found.matched, found.single) == ({"prefix": 3}, [])


def test_tno_scene_folder_with_one_file_of_each_kind_is_a_pair_whatever_the_remainder() -> None:
    found = find_pairs(["Triclobs/jeep/IR_18rad_g.bmp", "Triclobs/jeep/VIS_18dhv.bmp"])
    assert ids(found) == ["Triclobs/jeep/18rad"]


def test_roadscene_pairs_the_cropped_folders_and_never_the_high_resolution_one() -> None:
    found = find_pairs(
        [
            "cropinfrared/FLIR_00006.jpg",
            "crop_LR_visible/FLIR_00006.jpg",
            "crop_HR_visible/FLIR_00006.jpg",
            "cropinfrared/Thumbs.db",
            "crop_LR_visible/Thumbs.db",
        ]
    )
    assert found.pairs == [
        Pair("FLIR_00006", "cropinfrared/FLIR_00006.jpg", "crop_LR_visible/FLIR_00006.jpg", "")
    ]
    assert found.ignored == {
        "Thumbs.db and system files": 2,
        "crop_HR_visible (never the infrared's size)": 1,
    }


def test_vifb_input_folder_is_part_of_the_id_but_not_of_the_subset() -> None:
    found = find_pairs(["input/IR/carLight.jpg", "input/VI/carLight.jpg"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [("input/carLight", "")]


def test_msrs_pairs_each_split_and_ignores_its_segmentation_labels() -> None:
    names = ["train/{}/00001D.png", "test/{}/00002N.png", "detection/{}/00003D.png"]
    folders = ("ir", "vi", "Segmentation_labels", "labels")
    found = find_pairs([name.format(folder) for name in names for folder in folders])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [
        ("detection/00003D", "detection"),
        ("test/00002N", "test"),
        ("train/00001D", "train"),
    ]
    assert (found.single, found.ignored) == ([], {LABELS: 6})


def test_m3fd_pairs_both_parts_and_ignores_annotations() -> None:
    found = find_pairs(
        [
            "M3FD_Detection/Ir/00000.png",
            "M3FD_Detection/Vis/00000.png",
            "M3FD_Detection/Annotation/00000.xml",
            "M3FD_Fusion/Ir/00000.png",
            "M3FD_Fusion/Vis/00000.png",
        ]
    )
    assert ids(found) == ["M3FD_Detection/00000", "M3FD_Fusion/00000"]
    assert found.ignored == {LABELS: 1}


def test_llvip_pairs_splits_below_the_modality_folder() -> None:
    keys = [
        f"{m}/{s}/0{n}.jpg" for m in ("infrared", "visible") for s, n in (("train", 1), ("test", 2))
    ]
    found = find_pairs([*keys, "Annotations/01.xml"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [
        ("test/02", "test"),
        ("train/01", "train"),
    ]


def test_llvip_pairs_suffixed_folders_without_mixing_their_bases() -> None:
    found = find_pairs(
        [
            "Train_LLVIP_ir/010001.jpg",
            "Train_LLVIP_vi/010001.jpg",
            "Train_LLVIP_ir/190001.jpg",
            "Test_LLVIP_vi/190001.jpg",
        ]
    )
    assert found.pairs == [
        Pair(
            "Train_LLVIP/010001",
            "Train_LLVIP_ir/010001.jpg",
            "Train_LLVIP_vi/010001.jpg",
            "Train_LLVIP",
        )
    ]
    assert found.single == ["Test_LLVIP_vi/190001.jpg", "Train_LLVIP_ir/190001.jpg"]


def test_llvip_pairs_suffixed_files_in_one_folder() -> None:
    found = find_pairs(["010001_ir.jpg", "010001_vi.jpg", "010002-ir.jpg", "010002-vi.jpg"])
    assert (ids(found), found.matched) == (["010001", "010002"], {"suffix": 2})


def test_kaist_pairs_nested_sets_and_ignores_resource_forks() -> None:
    found = find_pairs(
        [
            "set00/V000/lwir/I00000.jpg",
            "set00/V000/visible/I00000.jpg",
            "set00/V000/lwir/._I00000.jpg",
            "__MACOSX/set00/V000/lwir/I00000.jpg",
        ]
    )
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [
        ("set00/V000/I00000", "set00/V000")
    ]
    assert found.ignored == {"macOS resource forks (._*)": 2}


def test_kaist_pairs_flattened_names_and_groups_by_what_precedes_the_modality() -> None:
    found = find_pairs(["kaist/set00_V000_lwir_I00000.jpg", "kaist/set00_V000_visible_I00000.jpg"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [
        ("kaist/set00_V000_I00000", "kaist/set00_V000")
    ]
    assert found.matched == {"infix": 1}


def test_flir_aligned_pairs_preview_data_with_rgb() -> None:
    found = find_pairs(
        [
            "JPEGImages/FLIR_00002_PreviewData.jpeg",
            "JPEGImages/FLIR_00002_RGB.jpg",
            "Annotations/FLIR_00002_PreviewData.xml",
        ]
    )
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [("JPEGImages/FLIR_00002", "")]
    assert (found.matched, found.ignored) == ({"suffix": 1}, {LABELS: 1})


def test_flir_adas_13_pairs_eight_bit_thermal_with_rgb() -> None:
    found = find_pairs(
        [
            "train/thermal_8_bit/FLIR_00001.jpeg",
            "train/RGB/FLIR_00001.jpg",
            "train/thermal_16_bit/FLIR_00001.tiff",
            "train/Annotated_thermal_8_bit/FLIR_00001.jpeg",
            "train/thermal_annotations.json",
        ]
    )
    assert halves(found) == [("train/thermal_8_bit/FLIR_00001.jpeg", "train/RGB/FLIR_00001.jpg")]
    assert found.single == ["train/thermal_16_bit/FLIR_00001.tiff"]
    assert found.ignored == {LABELS: 1, "not images": 1}


def test_mfnet_four_channel_files_are_both_halves_of_their_pair() -> None:
    keys = ["images/00001D.png", "images/00002N.png", "labels/00001D.png", "train.txt"]
    read: list[str] = []

    def read_head(key: str) -> bytes:
        read.append(key)
        return png_head(6)

    found = find_pairs(keys, read_head=read_head)
    assert found.pairs == [
        Pair("images/00001D", "images/00001D.png", "images/00001D.png", ""),
        Pair("images/00002N", "images/00002N.png", "images/00002N.png", ""),
    ]
    assert found.matched == {"four_channel": 2}
    assert read == ["images/00001D.png"]


def test_fmb_pairs_its_splits_and_ignores_labels_and_coloured_labels() -> None:
    folders = ("Infrared", "Visible", "Label", "color")
    found = find_pairs([f"{s}/{f}/00001.png" for s in ("train", "test") for f in folders])
    assert ids(found) == ["test/00001", "train/00001"]
    assert (found.single, found.ignored) == ([], {LABELS: 4})


def test_rgbt234_pairs_frames_whose_letter_follows_the_number() -> None:
    found = find_pairs(
        [
            "afterrain/infrared/00001i.jpg",
            "afterrain/visible/00001v.jpg",
            "afterrain/infrared.txt",
            "afterrain/init.txt",
        ]
    )
    assert found.pairs == [
        Pair(
            "afterrain/00001",
            "afterrain/infrared/00001i.jpg",
            "afterrain/visible/00001v.jpg",
            "afterrain",
        )
    ]
    assert (found.matched, found.single) == ({"frames": 1}, [])


def test_lasher_pairs_frames_whose_letter_precedes_the_number() -> None:
    folder = "TrainingSet/trainingset/1boygo"
    keys = [f"{folder}/{m}/{m[0]}{n:03d}.jpg" for m in ("infrared", "visible") for n in (0, 1)]
    found = find_pairs([*keys, f"{folder}/init.txt"])
    assert ids(found) == [f"{folder}/000", f"{folder}/001"]
    assert found.matched == {"frames": 2}


def test_frames_match_if_one_side_alone_has_a_letter_and_never_by_a_foreign_letter() -> None:
    found = find_pairs(
        [f"infrared/{n}" for n in ("1.jpg", "2v.jpg", "x3i.jpg")]
        + [f"visible/{n}" for n in ("1v.jpg", "2i.jpg", "x3v.jpg")]
    )
    assert (ids(found), len(found.single)) == (["1"], 4)


def test_dronevehicle_pairs_the_image_folders_of_each_split() -> None:
    keys = [f"{s}/{s}{f}/00001.jpg" for s in ("train", "val", "test") for f in ("img", "imgr")]
    found = find_pairs([*keys, "train/trainlabelr/00001.xml"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [
        (f"{split}/00001", split) for split in ("test", "train", "val")
    ]
    assert found.pairs[0].ir_key == "test/testimgr/00001.jpg"


def test_dronevehicle_splits_in_one_folder_never_mix() -> None:
    found = find_pairs(["trainimg/1.jpg", "valimgr/1.jpg", "trainimgr/2.jpg", "trainimg/2.jpg"])
    assert ids(found) == ["train/2"]


def test_vedai_pairs_colour_with_infrared() -> None:
    keys = [f"Vehicules512/{n:08d}_{m}.png" for n in (0, 1) for m in ("co", "ir")]
    found = find_pairs([*keys, "Annotations512/00000000.txt"])
    assert ids(found) == ["Vehicules512/00000000", "Vehicules512/00000001"]
    assert found.pairs[0].vis_key == "Vehicules512/00000000_co.png"


def test_epfl_pairs_near_infrared_with_rgb() -> None:
    found = find_pairs(["country/0000_nir.tiff", "country/0000_rgb.tiff"])
    assert [(pair.pair_id, pair.subset) for pair in found.pairs] == [("country/0000", "country")]


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


# What is ignored


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


# Ids


def test_stems_keep_leading_zeros_and_the_letter_of_day_or_night() -> None:
    keys = [f"{m}/{stem}.png" for m in ("ir", "vi") for stem in ("00001D", "00001N", "1D")]
    assert ids(find_pairs(keys)) == ["00001D", "1D", "00001N"]


def test_pairs_are_in_natural_order() -> None:
    keys = [f"s{s}/{m}/{n}.png" for s in (10, 2) for n in (100, 20, 3) for m in ("ir", "vis")]
    assert ids(find_pairs(keys)) == [f"s{s}/{n}" for s in (2, 10) for n in (3, 20, 100)]


def test_ids_that_two_layouts_share_are_told_apart() -> None:
    found = find_pairs(["s/ir/1.png", "s/vis/1.png", "s/IR1.png", "s/VIS1.png"])
    assert [(pair.pair_id, pair.ir_key) for pair in found.pairs] == [
        ("s/1", "s/ir/1.png"),
        ("s/1~2", "s/IR1.png"),
    ]


def test_number_for_a_shared_id_never_takes_the_id_of_another_pair() -> None:
    keys = ["s/ir/1.png", "s/vis/1.png", "s/IR1.png", "s/VIS1.png"]
    found = find_pairs([*keys, "s/ir/1~2.png", "s/vis/1~2.png"])
    assert {pair.pair_id: pair.ir_key for pair in found.pairs} == {
        "s/1": "s/ir/1.png",
        "s/1~2": "s/ir/1~2.png",
        "s/1~3": "s/IR1.png",
    }


def test_suffixed_folder_next_to_plain_folders_keeps_its_own_partner() -> None:
    keys = [f"a{mark}{m}/1.png" for mark in "_/" for m in ("ir", "vis")]
    assert halves(find_pairs(keys)) == [
        ("a/ir/1.png", "a/vis/1.png"),
        ("a_ir/1.png", "a_vis/1.png"),
    ]


def test_ids_stay_as_they_are_when_data_is_added() -> None:
    first = [
        "x/ir/1.png",
        "x/vis/1.png",
        "t/IR_m_g.bmp",
        "t/VIS_m_r.bmp",
        "f/2_ir.jpg",
        "f/2_vi.jpg",
    ]
    more = ["x/ir/2.png", "x/vis/2.png", "y/ir/1.png", "y/vis/1.png", "x/labels/1.png"]
    more += ["t/IR_n.bmp", "t/VIS_n.bmp", "f/IR9.jpg", "f/a_ir_1.jpg", "ir/1.png", "vis/1.png"]
    before, after = find_pairs(first), find_pairs(first + more)
    assert set(before.pairs) < set(after.pairs)


def test_files_of_one_pair_listed_twice_are_one_pair() -> None:
    found = find_pairs(["ir/1.png", "vis/1.png"] * 2)
    assert (len(found.pairs), found.single, found.ignored) == (1, [], {})


# Properties

FOLDERS = st.sampled_from([
    "ir", "IR", "vis", "RGB", "thermal", "t", "a_ir", "a_vi", "A_vi", "train", "a", "images",
    "labels", "color", ".x", "__MACOSX",
])  # fmt: skip
STEMS = st.sampled_from([
    "1", "01", "IR1", "IR_1", "VIS1", "VIS_1", "IR_m_g", "VIS_m_r", "1_ir", "1_IR", "1_vi",
    "1-rgb", "s_ir_1", "s_vis_1", "s_IR_vis_1", "ir", "vis", "1~2", "a_mask", "iris1", "é", "._1",
    "Thumbs",
])  # fmt: skip
EXTENSIONS = st.sampled_from(["png", "PNG", "jpg", "tif", "txt", "db"])
KEYS = st.builds(
    lambda folders, stem, extension: "/".join([*folders, f"{stem}.{extension}"]),
    st.lists(FOLDERS, max_size=3),
    STEMS,
    EXTENSIONS,
) | st.text(max_size=12)
READERS = st.sampled_from([None, lambda key: png_head(6), lambda key: png_head(0)])
LAYOUTS = st.sampled_from(get_args(Layout))
Reader = Callable[[str], bytes] | None


@given(st.lists(KEYS, max_size=60), LAYOUTS, READERS)
def test_every_key_is_in_a_pair_or_single_or_ignored_and_in_one_of_them_only(
    keys: list[str], layout: Layout, read_head: Reader
) -> None:
    found = find_pairs(keys, layout=layout, read_head=read_head)
    paired = [key for pair in found.pairs for key in {pair.ir_key, pair.vis_key}]
    named = paired + found.single
    assert len(set(named)) == len(named)
    assert set(named) <= set(keys)
    assert len(named) + sum(found.ignored.values()) == len(set(keys))
    assert sum(found.matched.values()) == len(found.pairs)


@given(st.lists(KEYS, max_size=60), LAYOUTS, READERS)
def test_ids_are_unique_and_not_empty(keys: list[str], layout: Layout, read_head: Reader) -> None:
    found = ids(find_pairs(keys, layout=layout, read_head=read_head))
    assert len(set(found)) == len(found)
    assert all(found)


@given(st.lists(KEYS, max_size=60), READERS, st.randoms(use_true_random=False))
def test_order_of_the_keys_does_not_matter(
    keys: list[str], read_head: Reader, shuffler: random.Random
) -> None:
    shuffled = list(keys)
    shuffler.shuffle(shuffled)
    assert find_pairs(keys, read_head=read_head) == find_pairs(shuffled, read_head=read_head)


def seconds(name: str, pairs: int) -> float:
    """Return the least CPU time of a few searches, which other load does not change much."""
    words = ("lwir", "visible")
    keys = [name.format(n // 90, n // 9, word, n) for n in range(pairs) for word in words]
    taken = []
    for _ in range(5):
        start = time.process_time()
        find_pairs(keys)
        taken.append(time.process_time() - start)
    return min(taken)


def test_time_grows_with_the_number_of_pairs_not_with_its_square() -> None:
    for name in ("{0}/V{1}/{2}/{3}.jpg", "{0}_V{1}_{2}_{3}.jpg", "{0}/{2}{1}{3}.jpg"):
        assert seconds(name, 5000) < 10 * seconds(name, 1250), name
