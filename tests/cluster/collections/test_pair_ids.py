"""Ids of pairs: unique, readable, and stable when files are added."""

from __future__ import annotations

from support.discoveries import halves, ids

from cluster.collections.layouts import find_pairs


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
