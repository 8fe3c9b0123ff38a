"""Single pairs of a run with their images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.collections import read_rows
from support.computed_runs import compute_run
from support.records import encoded_shard, result_row, run_record

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.user_manifest import read_user_manifest
from cluster.runs.config import WorkerConfig
from cluster.runs.gallery import Gallery
from cluster.runs.messages import ShardTask
from cluster.runs.origins import FilesOrigin
from cluster.runs.shard_file import ROW_GROUP_BYTES, open_shard, read_image
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError
from fusion_core.images import decode_image, encode_png, fit, synthetic_pair


def test_a_pair_is_shown_with_its_row_and_its_three_images(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 6)
    view = Gallery(out, record).view(5)
    row = read_rows(out.url)[5]
    assert (view.row["pair_id"], view.row["EN"]) == (row["pair_id"], row["EN"])
    sources = [decode_image((tmp_path / "in" / p / "0005.png").read_bytes()) for p in ("ir", "vis")]
    images = [*sources, decode_image(row["fused"]["bytes"])]
    for found, expected in zip((view.ir, view.vis, view.fused), images, strict=True):
        assert np.array_equal(found, fit(expected))


def test_only_the_row_group_of_an_image_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [bytes([number]) * (ROW_GROUP_BYTES // 2) for number in range(5)]
    rows = [
        result_row(str(n), fused={"bytes": image, "path": None}) for n, image in enumerate(images)
    ]
    parquet = open_shard(io.BytesIO(encoded_shard(rows)))
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def record(file: pq.ParquetFile, group: int, **options: object) -> object:
        read.append(group)
        return original(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", record)
    for number, image in enumerate(images):
        cell = read_image(parquet, number)
        assert cell is not None
        assert cell["bytes"] == image
    assert read == [0, 0, 1, 1, 2]
    with pytest.raises(IndexError):
        read_image(parquet, 5)


def test_a_failed_pair_is_shown_with_its_reason_and_the_image_that_can_be_read(
    tmp_path: Path,
) -> None:
    out, record = compute_run(tmp_path, 3, damaged=(1,))
    view = Gallery(out, record).view(1)
    assert isinstance(view.fused, str)
    assert view.fused.startswith("failed at decode: visible image: ")
    assert view.vis == "cannot be read now"
    assert not isinstance(view.ir, str)


def test_sources_that_are_gone_leave_the_fused_image(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 1)
    (tmp_path / "in/ir/0000.png").unlink()
    view = Gallery(out, record).view(0)
    assert view.ir == "cannot be read now"
    assert not isinstance(view.fused, str)


def test_images_that_were_not_kept_are_said_to_be_so(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 1, keep_images=False)
    assert Gallery(out, record).view(0).fused == "not kept"


def test_a_shard_that_is_not_committed_is_an_error(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 6, shards=range(1))
    with pytest.raises(NotFoundError, match="is not computed yet; continue the run"):
        Gallery(out, record).view(5)


def test_fused_images_of_other_programs_and_four_channel_pairs_are_read(tmp_path: Path) -> None:
    ir, vis = synthetic_pair(20, 30, seed=1)
    Image.fromarray(np.dstack([vis, ir])).save(tmp_path / "both.png")
    (tmp_path / "fused.png").write_bytes(encode_png(vis))
    (tmp_path / "m.csv").write_text(
        "pair_id,ir_uri,vis_uri,fused_uri\na,both.png,both.png,fused.png\n"
    )
    out = Store(str(tmp_path / "out"))
    info, manifest = freeze(read_user_manifest(Store(str(tmp_path)), "m.csv"))
    out.write(MANIFEST_KEY, manifest)
    record = run_record(info, origin=FilesOrigin(method="other"), metrics=["SD"])
    ShardProcessor(WorkerConfig(record, out)).process(ShardTask(0))
    view = Gallery(out, record).view(0)
    for found, expected in ((view.ir, ir), (view.vis, vis), (view.fused, vis)):
        assert np.array_equal(found, fit(expected))
