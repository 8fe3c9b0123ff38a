from __future__ import annotations

import pytest

from cluster.collections import PairRow, common_folder, mirrored_name
from cluster.collections.layouts import find_pairs

ROOT = "/data/pairs"


def mirrored(*keys: str) -> list[str]:
    """Return the names of the pairs that are found among files."""
    found = find_pairs(keys, layout="auto", read_head=lambda key: RGBA)
    pairs = [
        PairRow(p.pair_id, f"{ROOT}/{p.ir_key}", f"{ROOT}/{p.vis_key}", p.subset)
        for p in found.pairs
    ]
    return [mirrored_name(pair, ROOT) for pair in pairs]


RGBA = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes([0, 0, 2, 128, 0, 0, 1, 224, 8, 6, 0, 0, 0])


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["infrared/train/010001.jpg", "visible/train/010001.jpg"], ["fused/train/010001"]),
        (["Train_LLVIP_ir/1.jpg", "Train_LLVIP_vi/1.jpg"], ["Train_LLVIP_fused/1"]),
        (["train/ir/00001D.png", "train/vi/00001D.png"], ["train/fused/00001D"]),
        (["M3FD_Fusion/Ir/0.png", "M3FD_Fusion/Vis/0.png"], ["M3FD_Fusion/fused/0"]),
        (["cropinfrared/F_6.jpg", "crop_LR_visible/F_6.jpg"], ["fused/F_6"]),
        (["input/IR/car.jpg", "input/VI/car.jpg"], ["input/fused/car"]),
        (["IR1.png", "VIS1.png"], ["fused/1"]),
        (["010001_ir.jpg", "010001_vi.jpg"], ["fused/010001"]),
        (["infrared/0001i.jpg", "visible/0001v.jpg"], ["fused/0001"]),
        (
            ["align/JPEGImages/FLIR_02_PreviewData.jpeg", "align/JPEGImages/FLIR_02_RGB.jpg"],
            ["align/fused/FLIR_02"],
        ),
        (["images/00001D.png", "images/00002N.png"], ["fused/00001D", "fused/00002N"]),
        (
            [f"set00/V00{v}/{m}/I0.jpg" for v in (0, 1) for m in ("lwir", "visible")],
            ["set00/V000/fused/I0", "set00/V001/fused/I0"],
        ),
        (["ir/a b.é.png", "vis/a b.é.png"], ["fused/a b.é"]),
    ],
)
def test_the_tree_of_the_visible_images_is_kept(keys: list[str], names: list[str]) -> None:
    assert mirrored(*keys) == names


def test_folders_that_mean_no_modality_are_replaced_where_they_differ() -> None:
    pair = PairRow("s/7", f"{ROOT}/left/s/7.png", f"{ROOT}/right/s/7.png", "s")
    assert mirrored_name(pair, ROOT) == "fused/s/7"


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        (["/d/x/ir/1.png", "/d/x/vis/1.png", "/d/x/ir/2.png"], "/d/x"),
        (["/d/xa/1.png", "/d/xb/1.png"], "/d"),
        (["https://a/1.png", "s3://b/1.png"], ""),
        ([], ""),
    ],
)
def test_the_common_folder_contains_all_locations(uris: list[str], folder: str) -> None:
    assert common_folder(uris) == folder
