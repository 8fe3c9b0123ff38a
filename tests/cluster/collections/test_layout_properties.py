"""What holds for any list of files: each has one place, whatever the order, in little time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from support.discoveries import OTHER_FORMAT, ids, png_head

from cluster.collections.layouts import Discovery, Layout, find_pairs
from cluster.collections.layouts.division import numbers_in
from cluster.collections.layouts.words import FOLDER_WORDS, IR_WORDS, VIS_WORDS

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
    named = [*paired, *found.single]
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


def without_other_formats(found: Discovery) -> Discovery:
    """Return what was found without the example of another format, which is any of them."""
    examples = {k: v for k, v in found.ignored_examples.items() if k != OTHER_FORMAT}
    return replace(found, ignored_examples=examples)


PLAIN_FOLDERS = st.sampled_from(["train", "a", "images", "1", "thermal_8", "labels"])
"""Folders of no modality."""
FLAT_KEYS = st.builds(
    lambda folders, stem, extension: "/".join([*folders, f"{stem}.{extension}"]),
    st.lists(PLAIN_FOLDERS, max_size=2),
    STEMS | st.sampled_from(["VIS_2", "IR_3_a", "VIS_4_b", "i5", "1_ir_2", "1_rgb_2"]),
    EXTENSIONS,
)
SISTER_KEYS = st.builds(
    lambda folders, stem, extension: "/".join([*folders, f"{stem}.{extension}"]),
    st.lists(FOLDERS | st.sampled_from(["thermal_8_bit", "a1", "a1_ir", "a1_vi"]), max_size=4),
    st.sampled_from(["1", "2", "é", "01_ir", "01_vi", "i03", "v03", "1~2", "a_mask", "._1"]),
    EXTENSIONS,
)


@given(st.lists(FLAT_KEYS, max_size=60) | st.lists(SISTER_KEYS, max_size=60), LAYOUTS, READERS)
def test_pairs_are_the_same_if_files_are_divided(
    keys: list[str], layout: Layout, read_head: Reader
) -> None:
    whole = find_pairs(keys, layout=layout, read_head=read_head)
    divided = find_pairs(keys, layout=layout, read_head=read_head, at_once=2)
    assert without_other_formats(divided) == without_other_formats(whole)


def test_words_for_modalities_contain_no_digits_but_those_that_the_division_knows() -> None:
    assert numbers_in("a1/Thermal_8_bit/2.png") == numbers_in("a1/RGB/2.jpg") == "1 2"
    words = [*FOLDER_WORDS, IR_WORDS, VIS_WORDS]
    assert [word for word in words if numbers_in(f"{word}.png")] == []


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
