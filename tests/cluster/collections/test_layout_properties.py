"""What holds for any list of files: each has one place, whatever the order, in little time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from support.discoveries import ids, png_head

from cluster.collections.layouts import Layout, find_pairs

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
