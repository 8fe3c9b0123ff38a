"""A worker's rows, without Ray: what it makes of good and bad input."""

import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.collections import read_rows, stable
from support.records import method_origin, worker_config
from support.reference_files import tiff_file

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.fused_images import FusedImages
from cluster.collections.manifest_reader import FrozenManifest
from cluster.runs.messages import ShardTask
from cluster.runs.origins import FilesOrigin
from cluster.runs.pair_state import Failure
from cluster.runs.plan import shard_key
from cluster.runs.stages import HandedBack
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from fusion_core import choices, fuse, score
from fusion_core.errors import RunConflictError, WeightsError
from fusion_core.images.decoding import decode_image
from fusion_core.images.encoding import encode_png
from fusion_core.images.pairs import Bands
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import MEASURES, identify_measure, select_metrics

METRICS = tuple(select_metrics())
IR, VIS = synthetic_pair(40, 50, seed=5)


def processor(
    folder: Path,
    *,
    batches: Iterator[pa.RecordBatch] | None = None,
    shard_size: int = 64,
    **changed: Any,
) -> ShardProcessor:
    """Freeze the collection in `folder/in`, or batches, and load a worker for `folder/out`."""
    out = Store(str(folder / "out"))
    info, manifest = freeze(batches or discover(Store(str(folder / "in"))).batches())
    out.write(MANIFEST_KEY, manifest)
    settings: dict[str, Any] = {"shard_size": shard_size, "metrics": list(METRICS), **changed}
    return ShardProcessor(worker_config(out, info, **settings))


def put(folder: Path, name: str, ir: bytes, vis: bytes, *, vis_name: str | None = None) -> None:
    store = Store(str(folder / "in"))
    store.write(f"ir/{name}", ir)
    store.write(f"vis/{vis_name or name}", vis)


def file_of(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG whose header promises 60000 x 60000 pixels."""
    header = bytearray(encode_png(IR))
    header[16:24] = (60000).to_bytes(4, "big") * 2
    crc = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    header[29:33] = crc
    return bytes(header)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


RGB = Image.fromarray(VIS)
BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "decode", "empty"),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "decode", "HTML"),
    "half_png": (lambda: half(encode_png(VIS)), "decode", "truncated"),
    "half_jpeg": (lambda: half(file_of(RGB, "JPEG")), "decode", "truncated"),
    "other_size": (lambda: encode_png(VIS[:-1]), "check", "50x40 .* 50x39"),
    "bomb": (bomb, "decode", "too large|over the limit"),
    "noise": (lambda: bytes(range(256)), "decode", "not an image"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Rows by pair_id of a collection of good, odd and bad pairs."""
    folder = tmp_path_factory.mktemp("mixed")
    good, other = encode_png(IR), encode_png(VIS)
    for name, (make, _, _) in BAD.items():
        put(folder, f"{name}.png", good, make())
    put(folder, "good.png", good, other)
    put(folder, 'it\'s "odd" größe 红外 #1.png', good, other)
    sixteen = Image.fromarray(IR.astype(np.uint16) * 60 + 1000)
    put(folder, "sixteen.tif", file_of(sixteen, "TIFF"), other, vis_name="sixteen.png")
    put(folder, "rgba.png", good, file_of(RGB.convert("RGBA"), "PNG"))
    put(folder, "palette.png", good, file_of(RGB.quantize(64), "PNG"))
    small = encode_png(IR[:5, :5])
    put(folder, "five.png", small, small)
    put(folder, "missing.png", good, other)
    put(folder, "fifo.png", good, other)
    worker = processor(folder)
    (folder / "in/vis/missing.png").unlink()
    (folder / "in/vis/fifo.png").unlink()
    os.mkfifo(folder / "in/vis/fifo.png")
    worker.process(ShardTask(0))
    return {row["pair_id"]: row for row in read_rows(folder / "out")}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_pair_becomes_a_failed_row_with_its_reason(
    mixed: dict[str, dict[str, Any]], name: str
) -> None:
    row, (_, stage, message) = mixed[name], BAD[name]
    assert (row["status"], row["error_stage"]) == ("failed", stage)
    assert re.search(message, row["error_message"]), row["error_message"]
    assert row["fused"] is None
    assert all(row[metric] is None for metric in METRICS)


def test_a_fifo_fails_at_read_and_is_named(mixed: dict[str, dict[str, Any]]) -> None:
    row = mixed["fifo"]
    assert (row["status"], row["error_stage"]) == ("failed", "read")
    assert "vis/fifo.png: it is a FIFO" in row["error_message"]


@pytest.mark.parametrize(
    ("rule", "size", "resized"),
    [("smaller", (25, 20), "visible 50x40"), ("visible", (50, 40), "infrared 25x20")],
)
def test_sources_of_different_sizes_are_brought_to_one_size_and_say_so(
    tmp_path: Path, rule: str, size: tuple[int, int], resized: str
) -> None:
    put(tmp_path, "a.png", encode_png(IR[::2, ::2]), encode_png(VIS))
    put(tmp_path, "b.png", encode_png(IR), encode_png(VIS))
    put(tmp_path, "c.png", encode_png(IR[:, ::2]), encode_png(VIS))
    processor(tmp_path, metrics=["EN"], resize=rule).process(ShardTask(0))
    one, equal, other = read_rows(tmp_path / "out")
    assert (one["status"], one["resized"]) == ("ok", resized)
    assert (one["width"], one["height"]) == size
    assert decode_image(one["fused"]["bytes"]).shape == (size[1], size[0], 3)
    assert (equal["status"], equal["resized"]) == ("ok", None)
    assert (other["status"], other["error_stage"], other["width"]) == ("failed", "check", 25)
    assert "25x40 but the visible image is 50x40: their proportions" in other["error_message"]


def test_bands_are_selected_of_files_with_many(tmp_path: Path) -> None:
    cube = np.stack([VIS[..., 0], VIS[..., 1], VIS[..., 2], IR, IR], axis=-1).astype(np.float32)
    data = tiff_file(cube, photometric="minisblack", planarconfig="contig")
    put(tmp_path, "one.tif", data, data)
    put(tmp_path, "two.png", encode_png(IR), encode_png(VIS))
    settings = {"metrics": ["EN"], "bands": Bands(ir="4", vis="1,2,3")}
    processor(tmp_path, **settings).process(ShardTask(0))
    one, two = read_rows(tmp_path / "out")
    assert (one["status"], one["height"], one["width"]) == ("ok", 40, 50)
    assert decode_image(one["fused"]["bytes"]).shape == (40, 50, 3)
    assert "infrared image: There is no band '4'" in two["error_message"]


def test_a_missing_file_fails_at_read_and_is_named(mixed: dict[str, dict[str, Any]]) -> None:
    row = mixed["missing"]
    assert (row["error_stage"], row["error_type"]) == ("read", "NotFoundError")
    assert "vis/missing.png" in row["error_message"]


@pytest.mark.parametrize(
    "name", ["good", 'it\'s "odd" größe 红外 #1', "sixteen", "rgba", "palette", "five"]
)
def test_a_readable_pair_comes_out(mixed: dict[str, dict[str, Any]], name: str) -> None:
    row = mixed[name]
    assert row["status"] == "ok", row["error_message"]
    picture = decode_image(row["fused"]["bytes"])
    assert picture.shape[:2] == (row["height"], row["width"])


def test_a_row_holds_what_the_arrays_give(mixed: dict[str, dict[str, Any]]) -> None:
    row = mixed["good"]
    fused = fuse(IR, VIS, weights="random:0", strategy="addition")
    np.testing.assert_array_equal(decode_image(row["fused"]["bytes"]), fused)
    expected = score(IR, VIS, fused, metrics=METRICS)
    assert {name: row[name] for name in METRICS} == expected


def test_a_tiny_pair_has_nulls_where_the_arrays_give_none(
    mixed: dict[str, dict[str, Any]],
) -> None:
    row, five = mixed["five"], IR[:5, :5]
    fused = fuse(five, five, weights="random:0", strategy="addition")
    expected = score(five, five, fused, metrics=METRICS)
    assert {name: row[name] for name in METRICS} == expected
    assert expected["MS_SSIM"] is None
    assert "MS_SSIM is undefined: the image is smaller than 41x41 pixels" in row["metric_notes"]


def test_every_manifest_row_has_one_row_in_order(mixed: dict[str, dict[str, Any]]) -> None:
    assert len(mixed) == len(BAD) + 8
    assert all(row["read_ms"] is not None for row in mixed.values())


def test_an_undefined_metric_is_null_with_a_reason(tmp_path: Path) -> None:
    flat = encode_png(np.full((20, 30), 128, np.uint8))
    put(tmp_path, "flat.png", flat, flat)
    processor(tmp_path).process(ShardTask(0))
    (row,) = read_rows(tmp_path / "out")
    assert (row["status"], row["SCD"]) == ("ok", None)
    assert "SCD is undefined" in row["metric_notes"]
    assert row["EN"] == 0.0


def test_one_by_one_gives_the_same_rows_as_a_whole_shard(tmp_path: Path) -> None:
    for number in range(5):
        ir, vis = synthetic_pair(30 + number % 2, 40, seed=number)
        put(tmp_path, f"{number}.png", encode_png(ir), encode_png(vis) if number != 2 else b"")
    worker = processor(tmp_path)
    worker.process(ShardTask(0))
    whole = read_rows(tmp_path / "out")
    Store(str(tmp_path / "out")).delete(shard_key(0))
    task = ShardTask(0, attempt=2)
    records: dict[int, dict[str, Any]] = {}
    for offset in worker.offsets(task):
        records.update(worker.process_pair(task, offset))
    worker.commit(task, records)
    single = read_rows(tmp_path / "out")
    assert stable(single) == stable(whole)
    assert {row["attempt"] for row in single} == {2}


def test_a_pair_that_crashed_becomes_a_row_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    put(tmp_path, "b.png", encode_png(IR), encode_png(VIS))
    worker, task = processor(tmp_path), ShardTask(0)
    records = worker.process_pair(task, 0)
    records.update(worker.failed_row(task, 1, Failure("crash", "WorkerDied", "killed")))
    assert worker.commit(task, records).failed == {"crash": 1}
    rows = read_rows(tmp_path / "out")
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert rows[1]["error_message"] == "killed"


def test_a_file_with_more_bytes_than_an_image_can_need_fails_at_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "_OTHER_BYTES", 0)
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS) + bytes(8 * 3000))
    put(tmp_path, "b.png", encode_png(IR), encode_png(VIS))
    processor(tmp_path, max_pixels=3000).process(ShardTask(0))
    row, other = read_rows(tmp_path / "out")
    assert (row["status"], row["error_stage"]) == ("failed", "read")
    assert "vis/a.png: it has more than 24000 bytes" in row["error_message"]
    assert row["error_message"].endswith("increase --max-pixels to accept it")
    assert other["status"] == "ok"


def test_only_failed_rows_are_computed_again(tmp_path: Path) -> None:
    good, other = encode_png(IR), encode_png(VIS)
    put(tmp_path, "a.png", good, other)
    put(tmp_path, "b.png", good, b"")
    worker = processor(tmp_path)
    worker.process(ShardTask(0))
    before = read_rows(tmp_path / "out")
    put(tmp_path, "b.png", good, other)
    report = worker.process(ShardTask(0, failed_only=True))
    after = read_rows(tmp_path / "out")
    assert (report.computed, report.failed) == (1, {})
    assert after[0] == before[0]
    assert (after[1]["status"], after[1]["attempt"]) == ("ok", 2)


def test_four_channel_files_are_split(tmp_path: Path) -> None:
    both = np.dstack([VIS, IR])
    Store(str(tmp_path / "in")).write("images/00001D.png", file_of(Image.fromarray(both), "PNG"))
    processor(tmp_path).process(ShardTask(0))
    (row,) = read_rows(tmp_path / "out")
    assert row["status"] == "ok"
    fused = fuse(IR, VIS, weights="random:0", strategy="addition")
    np.testing.assert_array_equal(decode_image(row["fused"]["bytes"]), fused)


def test_without_pictures_the_scores_are_kept(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    processor(tmp_path, origin=method_origin(keep_images=False)).process(ShardTask(0))
    (row,) = read_rows(tmp_path / "out")
    assert row["fused"] is None
    assert row["EN"] > 0


def test_colour_pairs_are_scored_as_the_record_says(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    processor(tmp_path, metrics=["EN"], channels={"EN": "per_channel"}).process(ShardTask(0))
    (row,) = read_rows(tmp_path / "out")
    fused = decode_image(row["fused"]["bytes"])
    assert row["EN"] == score(IR, VIS, fused, metrics=["EN"], score_colour="per_channel")["EN"]
    assert row["EN"] != score(IR, VIS, fused, metrics=["EN"])["EN"]


def test_measures_of_other_libraries_are_columns_like_metrics(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    name = "torchmetrics_psnr"
    measures = {name: identify_measure(MEASURES[name])}
    processor(tmp_path, metrics=["EN", name], measures=measures).process(ShardTask(0))
    (row,) = read_rows(tmp_path / "out")
    fused = decode_image(row["fused"]["bytes"])
    assert row[name] == score(IR, VIS, fused, metrics=["torchmetrics:psnr"])[name]


def test_a_worker_refuses_a_measure_of_another_version_than_the_driver_has(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    measures = {"torchmetrics_psnr": {"measure": "torchmetrics:psnr", "version": "0.1"}}
    with pytest.raises(WeightsError, match=r"torchmetrics:psnr on .* install one version"):
        processor(tmp_path, metrics=["torchmetrics_psnr"], measures=measures)


def test_fused_images_are_compared_with_the_reference_images_that_exist(tmp_path: Path) -> None:
    fused, ideal = VIS // 2, np.maximum(VIS // 2, 9)
    for name in ("a", "b"):
        put(tmp_path, f"{name}.png", encode_png(IR), encode_png(VIS))
        Store(str(tmp_path / "fused")).write(f"{name}.png", encode_png(fused))
    Store(str(tmp_path / "ideal")).write("a.png", encode_png(ideal))
    read = discover(Store(str(tmp_path / "in"))).batches
    add_fused = FusedImages(Store(str(tmp_path / "fused"))).added_to(read)
    batches = FusedImages(Store(str(tmp_path / "ideal")), "reference").added_to(add_fused)()
    names = select_metrics(["EN"], reference=True)
    origin = FilesOrigin(method="theirs", reference="ideal")
    processor(tmp_path, batches=batches, metrics=names, origin=origin).process(ShardTask(0))
    first, second = read_rows(tmp_path / "out")
    assert {n: first[n] for n in names} == score(IR, VIS, fused, metrics=["EN"], reference=ideal)
    assert (second["status"], second["EN"], second["SSIM_ref"]) == ("ok", first["EN"], None)
    assert "the pair has no reference image" in second["metric_notes"]


def test_another_manifest_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode_png(IR), encode_png(VIS))
    with pytest.raises(RunConflictError, match="differs from the manifest"):
        processor(tmp_path, manifest_digest="0" * 64)


def test_the_manifest_rows_are_read_by_bounds(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put(tmp_path, name, encode_png(IR), encode_png(VIS))
    worker = processor(tmp_path, shard_size=2)
    worker.process(ShardTask(1))
    assert [row["pair_id"] for row in read_rows(tmp_path / "out")] == ["c"]
    assert FrozenManifest(Store(str(tmp_path / "out"))).rows == 3


def test_a_worker_that_is_to_leave_hands_its_shard_back_and_finishes_single_pairs(
    tmp_path: Path,
) -> None:
    for name in "abc":
        put(tmp_path, f"{name}.png", encode_png(IR), encode_png(VIS))
    own = processor(tmp_path)
    own.stages.leave()
    with pytest.raises(HandedBack):
        own.process(ShardTask(0))
    assert own.process_pair(ShardTask(0), 1)[1]["status"] == "ok"
    assert Store(str(tmp_path / "out")).entries("shards") == []


def test_a_worker_that_is_to_leave_finishes_the_pair_in_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        put(tmp_path, f"{name}.png", encode_png(IR), encode_png(VIS))
    own = processor(tmp_path)
    fuser = own.stages.fuser
    assert fuser is not None

    def fuse_and_leave(groups: Any) -> Any:
        own.stages.leave()
        return fuser(groups)

    monkeypatch.setattr(own.stages.computer, "fuser", fuse_and_leave)
    with pytest.raises(HandedBack):
        own.process(ShardTask(0))
    assert own.stages.pairs_done == 1
