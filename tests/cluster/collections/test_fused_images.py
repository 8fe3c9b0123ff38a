"""Existing fused images, matched to pairs by their names."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.collections.fused_images import FusedImages
from cluster.storage.store import Store
from fusion_core.errors import ManifestError


def batches(*pair_ids: str, **fused: str) -> Iterator[pa.RecordBatch]:
    """Yield one batch per pair of `ir/ID.png` and `vis/ID.png`."""
    for pair_id in pair_ids:
        columns = {
            "pair_id": [pair_id],
            "ir_uri": [f"/in/ir/{pair_id}.png"],
            "vis_uri": [f"/in/vis/{pair_id}.png"],
        }
        if fused:
            columns["fused_uri"] = [fused.get(pair_id, "")]
        yield pa.RecordBatch.from_pydict(columns)


def put(folder: Path, names: Iterable[str]) -> Store:
    for name in names:
        Store(str(folder)).write(name, b"x")
    return Store(str(folder))


def images(folder: Path, *names: str) -> FusedImages:
    return FusedImages(put(folder, names))


def matched(folder: Path, names: list[str], *pair_ids: str) -> list[str]:
    found = images(folder, *names).added_to(lambda: batches(*pair_ids))()
    uris = [uri for batch in found for uri in batch.column("fused_uri").to_pylist()]
    return [uri.removeprefix(f"{folder}/") for uri in uris]


def test_an_image_matches_by_pair_id_or_by_stem(tmp_path: Path) -> None:
    names = ["0000.png", "a/0001.BMP", "note.txt"]
    assert matched(tmp_path, names, "0000", "0001", "0002") == ["0000.png", "a/0001.BMP", ""]


def test_the_names_of_the_sources_and_prefixes_of_the_id_match_too(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in ("IR7.png", "fused8.png"):
        store.write(name, b"x")
    columns = {
        "pair_id": ["7", "8"],
        "ir_uri": ["/in/IR7.png", "/in/IR8.png"],
        "vis_uri": ["/in/VIS7.png", "/in/VIS8.png"],
    }
    found = FusedImages(store).added_to(lambda: iter([pa.RecordBatch.from_pydict(columns)]))()
    assert next(found).column("fused_uri").to_pylist() == [
        f"{tmp_path}/IR7.png",
        f"{tmp_path}/fused8.png",
    ]


@pytest.mark.parametrize(
    ("extensions", "chosen"),
    [("webp png", "png"), ("jpg bmp tif", "tif"), ("JPG webp", "webp"), ("png jpg", "png")],
)
def test_the_format_of_an_image_is_chosen_as_for_the_sources(
    tmp_path: Path, extensions: str, chosen: str
) -> None:
    names = [f"train/0001.{extension}" for extension in extensions.split()]
    assert matched(tmp_path, names, "train/0001") == [f"train/0001.{chosen}"]
    assert matched(tmp_path, names, "0001") == [f"train/0001.{chosen}"]


def refusal(folder: Path, names: list[str], *pair_ids: str) -> str:
    with pytest.raises(ManifestError) as caught:
        matched(folder, names, *pair_ids)
    return str(caught.value)


@pytest.mark.parametrize("names", [["a/1.jpg", "a/1.jpeg"], ["a/1.png", "b/1.png"]])
def test_two_images_of_equal_rank_are_an_error_that_names_both(
    tmp_path: Path, names: list[str]
) -> None:
    message = refusal(tmp_path, names, "1")
    assert "pair '1' has two fused images" in message
    assert all(name in message for name in names)
    assert re.search("remove one of them, or name the right one by the pair_id", message)


def test_an_image_of_the_same_spelling_is_preferred(tmp_path: Path) -> None:
    assert matched(tmp_path, ["a/1.png", "A/1.png"], "A/1", "a/1") == ["A/1.png", "a/1.png"]


def test_an_image_with_the_path_of_another_pair_is_not_taken(tmp_path: Path) -> None:
    names = ["test/1.png", "val/1.png"]
    found = matched(tmp_path, names, "train/1", "test/1", "val/1")
    assert found == ["", "test/1.png", "val/1.png"]


def test_an_image_that_two_pairs_could_have_is_an_error_that_names_both(tmp_path: Path) -> None:
    message = refusal(tmp_path, ["1.png"], "day/1", "night/1")
    assert "1.png could be the fused image of the pairs 'day/1' and 'night/1'" in message


def test_two_rows_of_the_same_sources_may_share_an_image(tmp_path: Path) -> None:
    columns = {"pair_id": ["x/1", "y/1"], "ir_uri": ["/a"] * 2, "vis_uri": ["/b"] * 2}
    store = images(tmp_path, "1.png")
    found = next(store.added_to(lambda: iter([pa.RecordBatch.from_pydict(columns)]))())
    assert found.column("fused_uri").to_pylist() == [f"{tmp_path}/1.png"] * 2


def test_labels_beside_the_images_do_not_matter(tmp_path: Path) -> None:
    names = ["fused/1.png", "labels/1.png", "gt/1.png", "a/mask/1.png", "._1.png"]
    assert matched(tmp_path, names, "1") == ["fused/1.png"]


def test_pairs_keep_the_images_that_they_have(tmp_path: Path) -> None:
    store = images(tmp_path, "1.png", "2.png", "x/3.png")
    given = {"1": f"{tmp_path}/x/3.png", "2": ""}
    found = store.added_to(lambda: batches("1", "2", "3", **given), keep=True)()
    assert [batch.column("fused_uri")[0].as_py() for batch in found] == [
        f"{tmp_path}/x/3.png",
        f"{tmp_path}/2.png",
        "",
    ]


def test_reference_images_have_a_column_and_prefixes_of_their_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in ("0000.png", "gt_0001.png", "fused0002.png"):
        store.write(name, b"x")
    pair_ids = ("0000", "0001", "0002")
    found = FusedImages(store, "reference").added_to(lambda: batches(*pair_ids))()
    uris = [uri for batch in found for uri in batch.column("reference_uri").to_pylist()]
    assert uris == [f"{tmp_path}/0000.png", f"{tmp_path}/gt_0001.png", ""]


def test_two_reference_images_of_a_pair_are_named_as_such(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in ("a/0000.png", "b/0000.png"):
        store.write(name, b"x")
    with pytest.raises(ManifestError, match="has two reference images"):
        list(FusedImages(store, "reference").added_to(lambda: batches("0000"))())


SCENES = [
    *(f"{folder}/{name}.png" for folder in ("a", "b") for name in range(20)),
    *("a/21.png", "fused22.jpg", "FUSED22.png", "labels/23.png", "b/24.png"),
]


@pytest.mark.parametrize(
    ("more_names", "more_pairs"),
    [
        ((), ()),
        (("b/21.jpg",), ()),
        (("b/21.jpg", "c/30.png", "d/30.png"), ("30",)),
        ((), ("y/24",)),
        (("c/30.png", "d/30.png"), ("y/24", "30")),
    ],
)
def test_the_images_or_the_error_do_not_depend_on_how_many_are_in_memory(
    tmp_path: Path, more_names: tuple[str, ...], more_pairs: tuple[str, ...]
) -> None:
    store = put(tmp_path, [*SCENES, *more_names])
    pairs = [f"{folder}/{name}" for name in range(20) for folder in ("b", "a")]
    pairs += ["21", "22", "23", "x/24", *more_pairs]

    def outcome(at_once: int) -> list[str] | str:
        found = FusedImages(store, at_once=at_once).added_to(lambda: batches(*pairs))
        try:
            return [uri for batch in found() for uri in batch.column("fused_uri").to_pylist()]
        except ManifestError as error:
            return str(error)

    assert outcome(5) == outcome(1000)
    if not more_names and not more_pairs:
        ends = ["a/21.png", "fused22.jpg", "", "b/24.png"]
        assert outcome(5)[40:] == [f"{tmp_path}/{end}" if end else "" for end in ends]


def test_of_several_errors_that_of_the_first_pair_is_reported(tmp_path: Path) -> None:
    names = ["1.png", "a/2.png", "b/2.png"]
    assert "of the pairs 'x/1' and 'y/1'" in refusal(tmp_path, names, "x/1", "y/1", "2")
    assert "pair '2' has two" in refusal(tmp_path, names, "x/1", "2", "y/1")


def test_images_are_matched_once_however_often_the_pairs_are_read(tmp_path: Path) -> None:
    reads: list[int] = []

    def read() -> Iterator[pa.RecordBatch]:
        reads.append(1)
        return batches("1", "2")

    found = images(tmp_path, "1.png", "2.png").added_to(read)
    assert [list(found()) for _ in range(3)] == [list(found())] * 3
    assert len(reads) == 1 + 4


def test_pairs_that_change_while_they_are_matched_are_an_error(tmp_path: Path) -> None:
    sources = [["1", "2"], ["2", "1"]]
    found = images(tmp_path, "1.png", "2.png").added_to(lambda: batches(*sources.pop()))
    with pytest.raises(ManifestError, match="pairs were changed while the images of"):
        list(found())
