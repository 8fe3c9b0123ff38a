"""Fused images that were made after the manifest of a run was frozen."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.collections import late_matches
from cluster.collections.frozen_manifest import MANIFEST_KEY, ROW_GROUP_ROWS, freeze
from cluster.collections.fused_images import FusedImages
from cluster.collections.late_matches import match_late
from cluster.collections.manifest_reader import LATE_MATCHES_KEY, FrozenManifest
from cluster.storage.store import Store
from fusion_core.errors import StorageError

PAIRS = ROW_GROUP_ROWS + 3


def batches(count: int) -> Iterator[pa.RecordBatch]:
    names = [f"{number:06d}" for number in range(count)]
    columns = {
        "pair_id": names,
        "ir_uri": [f"/in/ir/{name}.png" for name in names],
        "vis_uri": [f"/in/vis/{name}.png" for name in names],
        "subset": [""] * count,
    }
    yield pa.RecordBatch.from_pydict(columns)


def add(folder: Path, *names: str) -> Store:
    for name in names:
        Store(str(folder / "fused")).write(name, b"x")
    return Store(str(folder / "fused"))


def frozen(folder: Path, count: int, *names: str) -> Store:
    """Freeze a manifest with the fused images that exist so far."""
    images, out = FusedImages(add(folder, *names)), Store(str(folder / "out"))
    out.write(MANIFEST_KEY, freeze(images.added_to(lambda: batches(count))())[1])
    return out


def fused(out: Store, start: int, stop: int) -> list[str]:
    return [row.fused_uri.rpartition("/")[2] for row in FrozenManifest(out).read(start, stop)]


def test_pairs_without_an_image_get_one_and_the_manifest_stays_as_it_is(tmp_path: Path) -> None:
    out = frozen(tmp_path, PAIRS, "000001.png")
    before = out.read(MANIFEST_KEY)
    images = FusedImages(add(tmp_path, "000002.png", f"{PAIRS - 1:06d}.png"))
    assert match_late(out, images) == (PAIRS - 1, 2)
    assert out.read(MANIFEST_KEY) == before
    assert fused(out, 0, 4) == ["", "000001.png", "000002.png", ""]
    assert fused(out, PAIRS - 2, PAIRS) == ["", f"{PAIRS - 1:06d}.png"]


def test_matches_are_kept_although_a_better_format_was_made_later(tmp_path: Path) -> None:
    out = frozen(tmp_path, 3, "000000.jpg")
    match_late(out, FusedImages(add(tmp_path, "000001.jpg")))
    added = add(tmp_path, "000000.png", "000001.png", "000002.png")
    assert match_late(out, FusedImages(added)) == (1, 1)
    assert fused(out, 0, 3) == ["000000.jpg", "000001.jpg", "000002.png"]


def test_an_image_that_a_pair_has_already_is_not_matched_again(tmp_path: Path) -> None:
    out = frozen(tmp_path, 2, "x/000001.png")
    fused_store = add(tmp_path, "x/000000.png")
    assert match_late(out, FusedImages(fused_store)) == (1, 1)
    assert match_late(out, FusedImages(fused_store)) == (0, 0)


def test_nothing_is_written_if_nothing_was_found(tmp_path: Path) -> None:
    out = frozen(tmp_path, 3, "000000.png")
    assert match_late(out, FusedImages(add(tmp_path))) == (2, 0)
    assert not out.exists(LATE_MATCHES_KEY)


def test_matches_of_another_driver_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = frozen(tmp_path, 4, "000000.png")
    early, late = FusedImages(add(tmp_path, "000001.png")), add(tmp_path, "000002.png")
    encode, others = late_matches._encode, [early]

    def encode_after_another(batches: Iterator[pa.RecordBatch], digest: str) -> tuple[int, bytes]:
        result = encode(batches, digest)
        if others:
            match_late(out, others.pop())
        return result

    monkeypatch.setattr(late_matches, "_encode", encode_after_another)
    assert match_late(out, FusedImages(late)) == (2, 1)
    assert fused(out, 0, 4) == ["000000.png", "000001.png", "000002.png", ""]


def test_matches_of_another_manifest_are_refused(tmp_path: Path) -> None:
    out = frozen(tmp_path, 3, "000000.png")
    match_late(out, FusedImages(add(tmp_path, "000001.png")))
    other = frozen(tmp_path / "other", 4, "000000.png")
    other.write(LATE_MATCHES_KEY, out.read(LATE_MATCHES_KEY))
    with pytest.raises(StorageError, match="belongs to another manifest; delete it"):
        FrozenManifest(other)


@pytest.mark.parametrize("part", ["footer", "pages"])
def test_damaged_matches_are_named_with_the_remedy(tmp_path: Path, part: str) -> None:
    out = frozen(tmp_path, 3, "000000.png")
    match_late(out, FusedImages(add(tmp_path, "000001.png")))
    data = bytearray(out.read(LATE_MATCHES_KEY))
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(1)
    data[-1 if part == "footer" else column.data_page_offset - 1] ^= 1
    out.write(LATE_MATCHES_KEY, bytes(data))
    with pytest.raises(StorageError, match=r"fused.parquet is damaged .*--retry-failed"):
        FrozenManifest(out).read(0, 3)
