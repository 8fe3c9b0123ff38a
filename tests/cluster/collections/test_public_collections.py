"""The layouts of the public collections."""

from __future__ import annotations

from support.discoveries import LABELS, OTHER_FORMAT, halves, ids, png_head

from cluster.collections.layouts import Pair, find_pairs


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
