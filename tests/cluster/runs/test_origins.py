"""Where fused images come from: a protocol with two implementations, and room for a third."""

from pathlib import Path
from typing import Any

import numpy as np
from support.collections import read_rows, write_pairs
from support.records import method_origin, worker_config

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, PairRow, freeze
from cluster.runs.origins import EightBit, FilesOrigin, FusedCell, Fuser, MethodOrigin
from cluster.runs.worker import ShardProcessor, ShardTask
from cluster.storage.store import Store
from fusion_core.choices import SixteenBit
from fusion_core.networks.weights import Weights

ROW = PairRow("p", "i", "v", "s", "https://host/f.png?signature=hush")
IMAGE = np.zeros((2, 2), dtype=np.uint8)


class InfraredOrigin(MethodOrigin):
    """A third origin: the infrared image stands for the fused one, and nothing is kept of it."""

    method: str = "infrared"
    parameters: dict[str, Any] = {}  # noqa: RUF012

    @property
    def sixteen_bit(self) -> SixteenBit:
        return "full"

    def load(self, weights: Weights | None, device: str) -> Fuser:
        return lambda ir, vis: list(ir)

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell:
        return {"bytes": None, "path": f"sum {int(fused.sum())}"}


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
    config = worker_config(out, info, origin=InfraredOrigin())
    ShardProcessor(config).process(ShardTask(0))
    for row in read_rows(out.url):
        assert (row["status"], row["method"]) == ("ok", "infrared")
        assert row["fused"]["path"].startswith("sum ")
        assert row["EN"] > 0
