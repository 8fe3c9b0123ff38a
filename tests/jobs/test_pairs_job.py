"""From sources to manifests."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.collections import write_pairs
from support.s3 import S3Server

from cluster.collections.discovery import discover
from cluster.collections.user_manifest import read_user_manifest
from cluster.storage.store import Store
from fusion_core.errors import InvalidValueError, ManifestError, StorageError
from jobs.options import PairsOptions
from jobs.pairs import pairs
from jobs.sources import describe_repetition, describe_rest, open_source


def test_a_folder_becomes_a_manifest(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 3)
    found = pairs(PairsOptions(source=str(tmp_path / "in"), output=str(tmp_path / "m.parquet")))
    table = pq.read_table(tmp_path / "m.parquet")
    assert (found.discovery.matched, found.rows) == ({"folders": 3}, 3)
    assert table["pair_id"].to_pylist() == ["0000", "0001", "0002"]
    assert table["vis_uri"].to_pylist()[1] == str(tmp_path / "in/vis/0001.png")


def test_a_written_manifest_is_a_source(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 3)
    pairs(PairsOptions(source=str(tmp_path / "in"), output=str(tmp_path / "m.parquet")))
    direct = [b.to_pylist() for b in discover(Store(str(tmp_path / "in"))).batches()]
    again = read_user_manifest(Store(str(tmp_path)), "m.parquet")
    assert [b.to_pylist() for b in again] == direct


def test_s3_is_listed_and_written(s3: S3Server) -> None:
    url = f"s3://{s3.new_bucket()}"
    write_pairs(f"{url}/in", 2, **s3.storage_options)
    given = {"output": f"{url}/m.parquet", "storage_options": s3.storage_options}
    found = pairs(PairsOptions(source=f"{url}/in", **given))
    batches = read_user_manifest(Store(url, s3.storage_options), "m.parquet")
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert found.rows == 2
    assert rows[1]["ir_uri"] == f"{url}/in/ir/0001.png"


def test_examples_are_of_different_subsets(tmp_path: Path) -> None:
    for subset in ("a", "b", "c", "d"):
        write_pairs(tmp_path / subset, 3)
    found = pairs(PairsOptions(source=str(tmp_path)))
    assert (found.subsets, found.output) == (dict.fromkeys("abcd", 3), None)
    assert [pair.pair_id for pair in found.examples] == ["a/0000", "b/0000", "c/0000"]


def test_links_to_the_folders_of_a_pair_are_followed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 2)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/thermal").symlink_to("../data/ir")
    (tmp_path / "in/rgb").symlink_to("../data/vis")
    found = discover(Store(str(tmp_path / "in"))).discovery
    assert [pair.pair_id for pair in found.pairs] == ["0000", "0001"]


def test_what_is_not_a_file_or_has_an_invalid_name_is_reported(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 2)
    os.mkfifo(tmp_path / "in/ir/0002.png")
    Path(os.fsdecode(bytes(tmp_path) + b"/in/ir/\xff.png")).write_bytes(b"x")
    options = PairsOptions(source=str(tmp_path / "in"), output=str(tmp_path / "m.parquet"))
    found = pairs(options).discovery
    assert found.skipped == {
        "ir/0002.png": "FIFOs, sockets and devices",
        "ir/\udcff.png": "names that are not valid Unicode",
    }
    assert describe_rest(open_source(options), options) == [
        "2 pairs found; not used: FIFOs, sockets and devices (1), names that are not valid "
        f"Unicode (1); `irfuse pairs {tmp_path}/in` shows them"
    ]


def test_a_subset_that_repeats_others_is_reported(tmp_path: Path) -> None:
    for subset in ("train", "all"):
        write_pairs(tmp_path / "in" / subset, 2)
    write_pairs(tmp_path / "in/train/more", 3)
    options = PairsOptions(source=str(tmp_path / "in"), output=str(tmp_path / "m.parquet"))
    sentences = [describe_repetition(one) for one in pairs(options).repetitions]
    assert sentences[0] == (
        "The subset all repeats 2 pairs of train, train/more, as far as names and sizes of the "
        "files show"
    )


def test_a_folder_of_fifos_alone_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "IR1.png")
    with pytest.raises(ManifestError, match=r"0 files.*IR1\.png \(FIFOs, sockets and devices"):
        discover(Store(str(tmp_path)))


def test_a_manifest_that_is_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(StorageError, match=r"m\.csv: it is a FIFO"):
        next(read_user_manifest(Store(str(tmp_path)), "m.csv"))


def test_an_absent_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="does not exist or is empty"):
        discover(Store(str(tmp_path / "absent")))


def test_a_folder_without_pairs_is_a_clear_error(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "note.txt"):
        Store(str(tmp_path)).write(name, b"x")
    with pytest.raises(
        ManifestError, match=r"such as a\.png, b\.png, note\.txt \(not images\) .*--ir and --vis"
    ):
        discover(Store(str(tmp_path)))


@pytest.mark.parametrize(
    ("source", "given", "message"),
    [
        (".", {"ir": "a"}, "must be given together"),
        (".", {"ir": "a", "vis": "b", "layout": "prefix"}, "cannot be combined"),
        ("m.csv", {"ir": "a", "vis": "b"}, "the source is a manifest"),
        ("m.csv", {"layout": "prefix"}, "the source is a manifest"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    source: str, given: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        pairs(PairsOptions(source=source, **given))


@pytest.mark.parametrize("root", ["", "{}/"], ids=["relative", "absolute"])
def test_two_folders_of_any_name_are_paired(tmp_path: Path, root: str) -> None:
    for key in ("left/day/1.png", "right/day/1.png"):
        Store(str(tmp_path)).write(key, b"x")
    given = {name: root.format(tmp_path) + name for name in ("left", "right")}
    found = pairs(PairsOptions(source=str(tmp_path), ir=given["left"], vis=given["right"]))
    assert [(pair.pair_id, pair.subset) for pair in found.examples] == [("day/1", "day")]


def test_patterns_without_equal_texts_are_a_clear_error(tmp_path: Path) -> None:
    for key in ("left/L1.png", "right/R1.png"):
        Store(str(tmp_path)).write(key, b"x")
    with pytest.raises(ManifestError, match=r"left/L1\.png, right/R1\.png .*same text"):
        pairs(PairsOptions(source=str(tmp_path), ir="left", vis="right"))


def test_a_manifest_must_be_named_parquet(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\.parquet"):
        pairs(PairsOptions(source=str(tmp_path), output=str(tmp_path / "m.csv")))
