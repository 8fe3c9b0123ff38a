"""Where fused images come from: a protocol with two implementations, and room for a third."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel
from support.collections import read_rows, write_pairs
from support.records import method_origin, run_record

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.manifest_reader import PairRow
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.origins import AnyOrigin, EightBit, FilesOrigin, FusedCell, Fuser
from cluster.runs.payload import Payload
from cluster.runs.record import RunRecord
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from fusion_core.choices import SixteenBit

ROW = PairRow("p", "i", "v", "s", "https://host/f.png?signature=hush")
IMAGE = np.zeros((2, 2), dtype=np.uint8)


class InfraredOrigin(BaseModel):
    """A third origin: the infrared image stands for the fused one, and nothing is kept of it."""

    kind: Literal["infrared"] = "infrared"
    method: str = "infrared"
    trained: None = None
    sixteen_bit: SixteenBit = "full"
    reads_fused: bool = False
    encodes: bool = False
    reads_reference: bool = False
    reads_further: bool = False
    added_locations: tuple[None, ...] = ()

    def load(self, payload: Payload, device: str) -> Fuser:
        return lambda groups: torch.stack(list(groups[0]))

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell:
        return {"bytes": None, "path": f"sum {int(fused.sum())}"}


class WidenedRecord(RunRecord):
    """The record of a run with this origin among the others."""

    origin: AnyOrigin | InfraredOrigin  # type: ignore[assignment]


def test_the_methods_images_are_kept_as_png_unless_they_are_not_wanted() -> None:
    cell = method_origin().to_cell(ROW, IMAGE)
    assert cell is not None
    assert bytes(cell["bytes"] or b"").startswith(b"\x89PNG")  # type: ignore[arg-type]
    assert method_origin(keep_images=False).to_cell(ROW, IMAGE) is None


def test_files_are_kept_as_locations_without_their_signature() -> None:
    cell = FilesOrigin(method="theirs").to_cell(ROW, IMAGE)
    assert cell == {"bytes": None, "path": "https://host/f.png?..."}


def test_a_worker_needs_nothing_but_the_protocol(tmp_path: Path) -> None:
    source, out = write_pairs(tmp_path / "in", 2), Store(str(tmp_path / "out"))
    info, manifest = freeze(discover(source).batches())
    out.write(MANIFEST_KEY, manifest)
    given = {**run_record(info).model_dump(), "origin": {"kind": "infrared"}}
    record = WidenedRecord.model_validate_json(WidenedRecord(**given).model_dump_json())
    config = WorkerConfig(record, out)
    ShardProcessor(config).process(ShardTask(0))
    for row in read_rows(out.url):
        assert (row["status"], row["method"]) == ("ok", "infrared")
        assert row["fused"]["path"].startswith("sum ")
        assert row["EN"] > 0
        assert row["score_ms"] > 0
        assert row["encode_ms"] is None
