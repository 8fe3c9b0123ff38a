"""Manifests: normalised, unique, known by their digest whatever their batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.collections.frozen_manifest import MANIFEST_KEY, ROW_GROUP_ROWS, freeze
from cluster.collections.manifest_reader import FrozenManifest
from cluster.collections.unique_ids import UniqueIds
from cluster.collections.user_manifest import read_user_manifest
from cluster.storage.store import Store
from fusion_core.errors import ManifestError, NotFoundError, StorageError


def batches(rows: int, size: int, **changed: str) -> Iterator[pa.RecordBatch]:
    for first in range(0, rows, size):
        numbers = range(first, min(first + size, rows))
        yield pa.RecordBatch.from_pydict(
            {
                "pair_id": [changed.get(f"p{i}", f"p{i}") for i in numbers],
                "ir_uri": [f"/data/ir/{i}.png" for i in numbers],
                "vis_uri": [f"/data/vis/{i}.png" for i in numbers],
                "subset": ["g"] * len(numbers),
            }
        )


def write_csv(folder: Path, text: str) -> Store:
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return Store(str(folder))


def read(store: Store, name: str = "list.csv") -> list[dict[str, str]]:
    return [row for batch in read_user_manifest(store, name) for row in batch.to_pylist()]


def test_rows_come_back_across_row_groups(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write(MANIFEST_KEY, freeze(batches(2 * ROW_GROUP_ROWS + 10, 1000))[1])
    manifest = FrozenManifest(store)
    assert manifest.rows == 2 * ROW_GROUP_ROWS + 10
    rows = manifest.read(ROW_GROUP_ROWS - 3, ROW_GROUP_ROWS + 4)
    assert [row.pair_id for row in rows] == [f"p{ROW_GROUP_ROWS + i}" for i in range(-3, 4)]
    assert rows[0].ir_uri == f"/data/ir/{ROW_GROUP_ROWS - 3}.png"


def test_the_digest_is_in_the_file_and_does_not_depend_on_batches(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    info, data = freeze(batches(5000, 777))
    store.write(MANIFEST_KEY, data)
    assert freeze(batches(5000, 13))[0] == info
    assert FrozenManifest(store).digest == info.digest


def test_the_digest_changes_with_any_value() -> None:
    assert freeze(batches(10, 5))[0] != freeze(batches(10, 5, p7="other"))[0]


def test_a_repeated_pair_id_is_refused_with_its_rows_and_files() -> None:
    with pytest.raises(ManifestError) as caught:
        freeze(batches(100, 10, p7="p93"))
    assert str(caught.value) == (
        "The pair_ids of the manifest must be unique, but some are repeated: 'p93' in rows "
        "8 (/data/ir/7.png), 94 (/data/ir/93.png); give each row a pair_id of its own"
    )


def test_of_many_repeated_pair_ids_the_first_are_named() -> None:
    changed = {f"p{i}": f"p{i % 5}" for i in range(5, 40)}
    with pytest.raises(ManifestError) as caught:
        freeze(batches(40, 7, **changed))
    message = str(caught.value)
    assert (
        "'p0' in rows 1 (/data/ir/0.png), 6 (/data/ir/5.png), 11 (/data/ir/10.png) and 5 more;"
        in message
    )
    assert "; 2 further names; give" in message


def test_ids_whose_hashes_collide_are_not_repeated() -> None:
    colliding = UniqueIds()
    colliding.add(["a", "b"])
    colliding._hashes = [np.int64([1, 1])]
    colliding.check(pq.ParquetFile(pa.BufferReader(freeze(batches(2, 2))[1])))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b\x00c"], ["a\x00b", "c"]),
        (["a", "1:b"], ["a1:b", ""]),
        ([None, "x"], ["None", "x"]),
    ],
)
def test_the_digest_tells_values_apart_whatever_they_contain(
    one: list[str | None], other: list[str | None]
) -> None:
    digests = set()
    for values in (one, other):
        (batch,) = batches(2, 2)
        batch = batch.append_column("note", pa.array(values, pa.string()))
        digests.add(freeze([batch])[0].digest)
    assert len(digests) == 2


def test_an_empty_pair_id_is_refused_with_its_row() -> None:
    with pytest.raises(ManifestError, match="Row 8 "):
        freeze(batches(100, 10, p7=""))


def test_no_rows_are_refused() -> None:
    with pytest.raises(ManifestError, match="no pair"):
        freeze(iter(()))


def test_relative_locations_are_relative_to_the_manifest(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "pair_id,ir_uri,vis_uri\na,ir/1.png,../vis/1.png\n")
    assert read(store) == [
        {
            "pair_id": "a",
            "ir_uri": str(tmp_path / "ir/1.png"),
            "vis_uri": str(tmp_path.parent / "vis/1.png"),
            "subset": "",
        }
    ]


def test_many_cells_with_line_breaks_are_read(tmp_path: Path) -> None:
    lines = [f'{n}.png,{n}.png,"two\nlines"' for n in range(100_000)]
    (tmp_path / "list.csv").write_text("\n".join(["ir_uri,vis_uri,note", *lines]))
    batches = list(read_user_manifest(Store(str(tmp_path)), "list.csv"))
    notes = {note for batch in batches for note in batch.column("note").to_pylist()}
    assert (sum(len(batch) for batch in batches), notes) == (100_000, {"two\nlines"})


def test_each_location_is_made_absolute_by_itself(tmp_path: Path) -> None:
    uris = ["a.png", "/a.png", "x/a.png", "x/../b.png", "x/..", "/x/a.png", "s3://x/a.png", "x/a:b"]
    (tmp_path / "list.csv").write_text("\n".join(["ir_uri,vis_uri", *(f"{u},{u}" for u in uris)]))
    here = str(tmp_path)
    (batch,) = read_user_manifest(Store(here), "list.csv")
    assert batch.column("ir_uri").to_pylist() == [
        f"{here}/a.png", "/a.png", f"{here}/x/a.png", f"{here}/b.png", here, "/x/a.png",
        "s3://x/a.png", f"{here}/x/a:b",
    ]  # fmt: skip


def test_a_missing_pair_id_is_made_from_the_infrared_location(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "ir_uri,vis_uri\nday/ir/007D.png,day/vi/007D.png\n")
    assert read(store)[0]["pair_id"] == "day/ir/007D"


def test_leading_zeros_stay(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "pair_id,ir_uri,vis_uri\n0007,/a,/b\n")
    assert read(store)[0]["pair_id"] == "0007"


def test_a_byte_order_mark_and_quotes_are_understood(tmp_path: Path) -> None:
    store = write_csv(tmp_path, '\ufeffpair_id,ir_uri,vis_uri\n"a,b","/x ""y"".png",/b\n')
    assert read(store)[0]["ir_uri"] == '/x "y".png'


def test_a_long_list_of_names_beyond_ascii_is_read(tmp_path: Path) -> None:
    for shift in range(3):
        rows = "".join(f"{'x' * shift}红外{n},/ir/红外{n}.png,/vis/{n}.png\n" for n in range(3000))
        store = write_csv(tmp_path, "pair_id,ir_uri,vis_uri\n" + rows)
        assert len(read(store)) == 3000


def test_a_column_that_is_not_text_is_named(tmp_path: Path) -> None:
    table = pa.table({"ir_uri": [["a"]], "vis_uri": ["b"]})
    pq.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(ManifestError, match="'ir_uri' must contain text"):
        read(Store(str(tmp_path)), "list.parquet")


def test_further_columns_are_carried_along(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "weather,ir_uri,vis_uri\nfog,/a,/b\n")
    store.write(MANIFEST_KEY, freeze(read_user_manifest(store, "list.csv"))[1])
    table = pq.read_table(tmp_path / MANIFEST_KEY)
    assert table["weather"].to_pylist() == ["fog"]


def test_a_column_of_groups_names_the_subsets_unless_there_is_one_of_subsets(
    tmp_path: Path,
) -> None:
    store = write_csv(tmp_path, "ir_uri,vis_uri,group\na.png,b.png,day\n")
    assert [(row["subset"], row["group"]) for row in read(store)] == [("day", "day")]
    store = write_csv(tmp_path, "ir_uri,vis_uri,group,subset\na.png,b.png,3,night\n")
    assert [(row["subset"], row["group"]) for row in read(store)] == [("night", "3")]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "pair_id,ir\na,/x\n")
    with pytest.raises(ManifestError, match=r"no column 'ir_uri'.*the columns are: pair_id, ir"):
        read(store)


def test_an_empty_location_stays_a_row(tmp_path: Path) -> None:
    store = write_csv(tmp_path, "pair_id,ir_uri,vis_uri\na,/x.png,\n")
    assert read(store)[0]["vis_uri"] == ""


@pytest.mark.parametrize("text", ["", "\x00\x01\x02", "ir_uri,vis_uri\n/a\n"])
def test_an_invalid_csv_file_is_a_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestError):
        read(write_csv(tmp_path, text))


def test_an_invalid_parquet_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(ManifestError, match="not a Parquet manifest"):
        read(Store(str(tmp_path)), "list.parquet")


@pytest.mark.parametrize("uri", ["/etc/passwd", "file:///etc/passwd", "~/secret.png"])
def test_a_remote_manifest_may_not_name_local_files(uri: str) -> None:
    store = Store("memory://manifests")
    store.write("list.csv", f"ir_uri,vis_uri\n{uri},b.png\n".encode())
    with pytest.raises(ManifestError, match="--allow-local-files"):
        read(store)
    allowed = read_user_manifest(store, "list.csv", allow_local_files=True)
    assert next(allowed).column("ir_uri").to_pylist() == [uri]


def test_a_remote_manifest_may_not_refer_to_parent_folders() -> None:
    store = Store("memory://manifests/inner")
    store.write("list.csv", b"ir_uri,vis_uri\na/../../x.png,b.png\n")
    with pytest.raises(ManifestError, match="outside of its folder"):
        read(store)


def test_column_names_that_are_not_unicode_are_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xff,ir_uri,vis_uri\n1,/a,/b\n")
    with pytest.raises(ManifestError, match="column names that are not UTF-8"):
        read(Store(str(tmp_path)))


def test_a_repeated_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="more than one column 'ir_uri'"):
        read(write_csv(tmp_path, "ir_uri,vis_uri,ir_uri\n/a,/b,/c\n"))


def test_text_that_is_not_unicode_is_a_clear_error(tmp_path: Path) -> None:
    raw = pa.array([b"\xff"], pa.binary())
    broken = pa.StringArray.from_buffers(1, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(
        pa.table({"ir_uri": ["/a"], "vis_uri": ["/b"], "x": broken}), tmp_path / "l.parquet"
    )
    with pytest.raises(ManifestError, match=r"not a Parquet manifest.*UTF8"):
        read(Store(str(tmp_path)), "l.parquet")


def test_dates_that_python_has_not_are_carried_along(tmp_path: Path) -> None:
    times = pa.array([2**60, 1], pa.timestamp("us"))
    table = pa.table({"ir_uri": ["/a", "/b"], "vis_uri": ["/c", "/d"], "time": times})
    pq.write_table(table, tmp_path / "l.parquet")
    frozen = freeze(read_user_manifest(Store(str(tmp_path)), "l.parquet"))[1]
    assert pq.read_table(pa.BufferReader(frozen))["time"].combine_chunks().equals(times)


def test_a_damaged_manifest_is_named_with_the_remedy(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    data = bytearray(freeze(batches(10, 5))[1])
    data[30] ^= 1
    store.write(MANIFEST_KEY, bytes(data))
    manifest = FrozenManifest(store)
    for use in (lambda: manifest.read(0, 1), lambda: list(manifest.batches()), manifest.verify):
        with pytest.raises(StorageError, match=r"manifest.parquet is damaged.*delete it and run"):
            use()


def test_a_missing_manifest_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"does not exist; .* Run the same command again"):
        FrozenManifest(Store(str(tmp_path)))
