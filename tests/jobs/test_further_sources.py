"""Pairs with more than two sources."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from support.cli import call_cli
from support.collections import SIZES, read_rows, write_pairs

import irfuse
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, ManifestError, PairMismatchError
from fusion_core.images import decode_image, encode_png
from irfuse import (
    ExportFolderOptions,
    ExportHfOptions,
    ExportWebDatasetOptions,
    FuseOptions,
    PairsOptions,
    RunOptions,
)
from irfuse.dataset import FusedPairs

COUNT = 3


def near_infrared(number: int) -> NDArray[np.uint8]:
    height, width = SIZES[number % len(SIZES)]
    return np.random.default_rng(number).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A collection of pairs with a third folder."""
    store = write_pairs(tmp_path / "in", COUNT)
    for number in range(COUNT):
        store.write(f"nir/{number:04}.png", encode_png(near_infrared(number)))
    return tmp_path / "in"


def run(source: Path, out: Path, address: str, **changed: object) -> list[dict[str, object]]:
    values = {"method": "average", "metrics": ("EN",), "workers": 1, **changed}
    irfuse.run(RunOptions(source=str(source), out=str(out), address=address, **values))  # type: ignore[arg-type]
    return read_rows(out)


def test_a_third_source_is_fused_with_the_others(
    folder: Path, ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rows = run(folder, out, ray_address, further_source=(f"{folder}/nir",))
    assert [row["status"] for row in rows] == ["ok"] * COUNT
    for number, row in enumerate(rows):
        images = [
            decode_image((folder / f"{kind}/{number:04}.png").read_bytes())
            for kind in ("ir", "vis", "nir")
        ]
        expected = irfuse.fuse(*images, method="average")
        found = decode_image(row["fused"]["bytes"])  # type: ignore[index]
        assert np.array_equal(found, expected)
    record = json.loads((out / "run.json").read_text())
    assert (record["sources"], record["pairing"]["further"]) == (3, [f"{folder}/nir"])
    manifest = tmp_path / "m.parquet"
    irfuse.pairs(
        PairsOptions(source=str(folder), further_source=(f"{folder}/nir",), output=str(manifest))
    )
    again = run(manifest, tmp_path / "again", ray_address)
    assert [row["EN"] for row in again] == [row["EN"] for row in rows]


def test_a_third_source_that_is_missing_or_of_another_size_fails_its_pair_alone(
    folder: Path, ray_address: str, tmp_path: Path
) -> None:
    (folder / "nir/0000.png").unlink()
    (folder / "nir/0001.png").write_bytes(encode_png(np.zeros((3, 4), np.uint8)))
    rows = run(
        folder, tmp_path / "out", ray_address, further_source=(f"{folder}/nir",),
        max_failure_rate=1.0,
    )  # fmt: skip
    assert [row["status"] for row in rows] == ["failed", "failed", "ok"]
    assert rows[0]["error_message"] == "The manifest has no third image for this pair"
    assert str(rows[1]["error_message"]).startswith("The third image is 4x3 but its sources are")


def test_a_method_that_is_defined_for_two_sources_is_refused_at_once(
    folder: Path, tmp_path: Path
) -> None:
    options = RunOptions(
        source=str(folder), out=str(tmp_path / "out"), method="gtf",
        further_source=(f"{folder}/nir",),
    )  # fmt: skip
    with pytest.raises(InvalidValueError, match="gtf fuses 2 sources at most, but got 3"):
        irfuse.run(options)
    assert not (tmp_path / "out/run.json").exists()


def test_columns_of_a_manifest_are_numbered_without_a_gap(tmp_path: Path) -> None:
    Store(str(tmp_path)).write("m.csv", b"ir_uri,vis_uri,source_4_uri\na.png,b.png,c.png\n")
    with pytest.raises(ManifestError, match="has no column 'source_3_uri'"):
        irfuse.pairs(PairsOptions(source=f"{tmp_path}/m.csv"))


def test_arrays_and_files_of_three_sources_are_fused(folder: Path, tmp_path: Path) -> None:
    paths = [f"{folder}/{kind}/0000.png" for kind in ("ir", "vis", "nir")]
    images = [decode_image(Path(path).read_bytes()) for path in paths]
    out = tmp_path / "f.png"
    irfuse.fuse_pair(
        FuseOptions(
            ir=paths[0],
            vis=paths[1],
            further_source=(paths[2],),
            output=str(out),
            method="densefuse",
            params={"strategy": "mean"},
        )
    )
    expected = irfuse.fuse(*images, method="densefuse", strategy="mean")
    assert np.array_equal(decode_image(out.read_bytes()), expected)
    assert not np.array_equal(
        expected, irfuse.fuse(*images[:2], method="densefuse", strategy="mean")
    )
    with pytest.raises(InvalidValueError, match="cbf fuses 2 sources at most, but got 3"):
        irfuse.fuse(*images, method="cbf")
    with pytest.raises(PairMismatchError, match="The third image is 5x4"):
        irfuse.fuse(*images[:2], np.zeros((4, 5), np.uint8), method="average")


def test_the_catalogue_states_how_many_sources_a_method_fuses() -> None:
    for name, count in (("densefuse", "any number"), ("gtf", "2")):
        shown = call_cli("methods", name).stdout
        assert any(line.split() == ["sources", *count.split()] for line in shown.splitlines())


def test_further_sources_are_exported_and_read_with_the_others(
    folder: Path, ray_address: str, tmp_path: Path
) -> None:
    run(folder, tmp_path / "run", ray_address, further_source=(f"{folder}/nir",))
    expected = (folder / "nir/0001.png").read_bytes()
    given = {"run": str(tmp_path / "run"), "with_sources": True}
    mirror, ids, tars, hub = (str(tmp_path / name) for name in ("mirror", "ids", "tars", "hub"))
    irfuse.export_folder(ExportFolderOptions(out=mirror, **given))
    assert Path(mirror, "nir/0001.png").read_bytes() == expected
    irfuse.export_folder(ExportFolderOptions(out=ids, preset="pair-id", **given))
    assert Path(ids, "sources/source_3/0001.png").read_bytes() == expected
    irfuse.export_webdataset(ExportWebDatasetOptions(out=tars, **given))
    with tarfile.open(f"{tars}/all-000000.tar") as tar:
        assert tar.extractfile("0001.source_3.png").read() == expected  # type: ignore[union-attr]
    irfuse.export_hf(ExportHfOptions(out=hub, **given))
    (file,) = Path(hub, "data").iterdir()
    assert pq.read_table(file).to_pylist()[1]["source_3"]["bytes"] == expected
    sample = FusedPairs(given["run"], sources=True)[1]
    assert np.array_equal(sample["source_3"][0].numpy(), near_infrared(1))
