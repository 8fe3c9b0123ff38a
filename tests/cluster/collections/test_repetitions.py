"""Subsets that repeat the pairs of other subsets."""

from cluster.collections.layouts import Pair, find_pairs
from cluster.collections.repetitions import Repetition, find_repetitions


def collection(**names: str) -> list[Pair]:
    """Find the pairs `SUBSET/{ir,vi}/NAME.png`, with names separated by spaces."""
    keys = [
        f"{subset}/{modality}/{name}.png"
        for subset, text in names.items()
        for name in text.split()
        for modality in ("ir", "vi")
    ]
    return find_pairs(keys).pairs


def sizes(pairs: list[Pair], **changed: int) -> dict[str, int]:
    """Give files of one name the same size, except in the subsets that are named."""
    keys = [key for pair in pairs for key in (pair.ir_key, pair.vis_key)]
    return {key: hash(key.rpartition("/")[2]) + changed.get(key.split("/")[0], 0) for key in keys}


def test_a_subset_of_copies_is_found_and_its_origins_are_not() -> None:
    pairs = collection(all_="1 2", day="1 3 4 5 6", night="2 7 8 9")
    assert find_repetitions(pairs, sizes(pairs)) == [Repetition("all_", 2, ("day", "night"))]


def test_equal_names_of_other_images_are_no_repetition() -> None:
    pairs = collection(set00="1 2", set01="1 2")
    assert find_repetitions(pairs, sizes(pairs, set01=1)) == []


def test_uncompressed_images_of_equal_size_are_no_repetition() -> None:
    pairs = find_pairs([f"{s}/{m}/1.bmp" for s in "ab" for m in ("ir", "vi")]).pairs
    assert find_repetitions(pairs, dict.fromkeys((p.ir_key for p in pairs), 7)) == []


def test_the_detection_part_of_msrs_is_found_although_its_files_differ() -> None:
    pairs = collection(train="00001D 00003N 5N", test="00002D 4D 6D", detection="00001D 00002D 9N")
    found = find_repetitions(pairs, sizes(pairs, detection=1))
    assert found == [Repetition("detection", 2, ("test", "train"))]


def test_a_detection_part_whose_names_are_not_unique_is_no_repetition() -> None:
    pairs = collection(train="1 2 3", test="1 2 3", detection="1 2 3")
    assert find_repetitions(pairs, sizes(pairs, detection=1, test=2)) == []
