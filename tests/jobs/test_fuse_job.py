"""`irfuse fuse`: one pair of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.cli import call_cli
from support.environment import child_environment

import irfuse
from cluster.storage import Store
from fusion_core.errors import (
    ImageDecodeError,
    InvalidValueError,
    IrfuseError,
    NotFoundError,
    PairMismatchError,
    WeightsError,
)
from fusion_core.images import encode_png, synthetic_pair
from irfuse import FuseOptions, fuse_pair

IR, VIS = synthetic_pair(26, 37, seed=1)


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    """The options of a pair of files, with a method that needs no weights."""
    for name, image in (("ir", IR), ("vis", VIS)):
        (tmp_path / f"{name}.png").write_bytes(encode_png(image))
    files = {name: str(tmp_path / f"{name}.png") for name in ("ir", "vis")}
    return {**files, "output": str(tmp_path / "fused.png"), "method": "average"}


def pixels(path: str | Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path))


def refuse(options: dict[str, Any], error: type[IrfuseError], message: str) -> None:
    """Check that a pair is refused, and that nothing is written."""
    with pytest.raises(error, match=message):
        fuse_pair(FuseOptions(**options))
    assert not Path(options["output"]).exists()


def test_the_fused_file_is_what_the_call_for_arrays_returns(pair: dict[str, Any]) -> None:
    pair |= {"method": "densefuse", "params": {"strategy": "l1_norm"}, "weights": "random:3"}
    result = fuse_pair(FuseOptions(**pair))
    expected = irfuse.fuse(IR, VIS, method="densefuse", strategy="l1_norm", weights="random:3")
    assert (pixels(pair["output"]) == expected).all()
    assert (result.width, result.height, result.trained, result.scores) == (37, 26, False, None)


def test_deep_images_are_converted_as_in_a_run(pair: dict[str, Any]) -> None:
    deep = np.random.default_rng(1).integers(900, 9000, IR.shape, dtype=np.uint16)
    Image.fromarray(deep).save(pair["ir"])
    pair["params"] = {"sixteen_bit": "full", "colour": "gray"}
    fuse_pair(FuseOptions(**pair))
    expected = irfuse.fuse(deep, VIS, method="average", sixteen_bit="full", colour="gray")
    assert (pixels(pair["output"]) == expected).all()


@pytest.mark.parametrize("ending", ["tif", "tiff", "TIF"])
def test_the_ending_selects_the_format(pair: dict[str, Any], ending: str, tmp_path: Path) -> None:
    pair["output"] = str(tmp_path / f"fused.{ending}")
    fuse_pair(FuseOptions(**pair))
    assert Image.open(pair["output"]).format == "TIFF"
    assert (pixels(pair["output"]) == irfuse.fuse(IR, VIS, method="average")).all()


@pytest.mark.parametrize("name", ["fused.jpg", "fused.webp", "fused", "folder.png/"])
def test_other_formats_are_refused_with_the_reason(
    pair: dict[str, Any], name: str, tmp_path: Path
) -> None:
    pair["output"] = f"{tmp_path}/{name}"
    refuse(pair, InvalidValueError, "ends in .png, .tif, .tiff, but got .* without loss, because")


def test_an_existing_file_is_replaced_only_on_request(pair: dict[str, Any]) -> None:
    Path(pair["output"]).write_bytes(b"mine")
    with pytest.raises(InvalidValueError, match=r"fused\.png exists; --overwrite replaces it"):
        fuse_pair(FuseOptions(**pair))
    assert Path(pair["output"]).read_bytes() == b"mine"
    fuse_pair(FuseOptions(**pair, overwrite=True))
    assert pixels(pair["output"]).shape == (26, 37, 3)


@pytest.mark.parametrize("spelling", ["{0}", "{1}/./{2}", "{1}/../{3}/{2}", "{1}/link/{2}"])
def test_a_source_is_never_overwritten(pair: dict[str, Any], spelling: str) -> None:
    before, path = Path(pair["vis"]).read_bytes(), Path(pair["vis"])
    (path.parent / "link").symlink_to(path.parent)
    pair["output"] = spelling.format(path, path.parent, path.name, path.parent.name)
    with pytest.raises(InvalidValueError, match="is one of the sources"):
        fuse_pair(FuseOptions(**pair, overwrite=True))
    assert Path(pair["vis"]).read_bytes() == before


def test_folders_are_referred_to_irfuse_run(pair: dict[str, Any], tmp_path: Path) -> None:
    pair |= {"ir": str(tmp_path), "vis": str(tmp_path)}
    refuse(pair, InvalidValueError, "is a folder; `irfuse run SOURCE --out OUT` fuses collections")


def test_a_remote_folder_is_referred_to_irfuse_run(pair: dict[str, Any]) -> None:
    Store("memory://fuse-folder").write("ir/1.png", encode_png(IR))
    pair["ir"] = "memory://fuse-folder/ir"
    refuse(pair, InvalidValueError, "fuse-folder/ir is a folder; ")


def test_pairs_are_read_from_and_written_to_urls(pair: dict[str, Any]) -> None:
    store = Store("memory://fuse")
    store.write("ir.png", encode_png(IR))
    store.write("vis.png", encode_png(VIS))
    names = {name: f"memory://fuse/{name}.png" for name in ("ir", "vis")}
    fuse_pair(FuseOptions(**{**pair, **names, "output": "memory://fuse/out/fused.png"}))
    assert store.read("out/fused.png").startswith(b"\x89PNG")


def test_a_file_with_four_channels_is_a_pair(pair: dict[str, Any]) -> None:
    Image.fromarray(np.dstack([VIS, IR])).save(pair["ir"])
    fuse_pair(FuseOptions(**{**pair, "vis": pair["ir"]}))
    assert (pixels(pair["output"]) == irfuse.fuse(IR, VIS, method="average")).all()


def test_bad_sources_are_refused_with_their_name(pair: dict[str, Any], tmp_path: Path) -> None:
    refuse({**pair, "ir": f"{tmp_path}/no.png"}, NotFoundError, r"no\.png: it does not exist")
    Path(pair["vis"]).write_bytes(encode_png(VIS)[:-30])
    refuse(pair, ImageDecodeError, "visible image: ")
    Path(pair["vis"]).write_bytes(encode_png(VIS[:-1]))
    refuse(pair, PairMismatchError, "is 37x26 but the visible image is 37x25")
    refuse({**pair, "max_pixels": 100}, ImageDecodeError, "infrared image: ")


def test_wrong_methods_parameters_metrics_and_weights_are_refused(pair: dict[str, Any]) -> None:
    refuse({**pair, "method": "averge"}, InvalidValueError, "did you mean average")
    refuse({**pair, "params": {"color": "gray"}}, InvalidValueError, "did you mean colour")
    refuse({**pair, "metrics": ("QABF",)}, InvalidValueError, "did you mean Qabf")
    refuse({**pair, "weights": "x.pth"}, WeightsError, "takes no weights")


def test_the_command_prints_scores(pair: dict[str, Any]) -> None:
    command = ["fuse", pair["ir"], pair["vis"], "-o", pair["output"], "--method", "average"]
    result = call_cli(*command, "--metrics", "EN,SD", "--param", "colour=gray")
    assert result.returncode == 0, result.stderr
    assert "Fused 37x26 pixels with average in " in result.stdout
    expected = irfuse.score(IR, VIS, pixels(pair["output"]), metrics=["EN", "SD"])
    shown = dict(line.split() for line in result.stdout.splitlines()[-2:])
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(
        expected, rel=1e-3
    )


def test_the_command_prints_json(pair: dict[str, Any]) -> None:
    command = ["fuse", pair["ir"], pair["vis"], "-o", pair["output"], "--method", "average"]
    found = json.loads(call_cli(*command, "--metrics", "EN", "--json").stdout)
    assert found["output"] == pair["output"]
    assert list(found["scores"]) == ["EN"]


def test_fusing_one_pair_imports_nothing_that_it_does_not_need(pair: dict[str, Any]) -> None:
    options = {**pair, "method": "densefuse", "params": {"convolution": "direct"}}
    heavy = ("ray", "pyarrow", "s3fs", "obstore", "numba", "sympy", "torchvision", "scipy")
    code = (
        "import sys; from irfuse import FuseOptions, fuse_pair\n"
        f"fuse_pair(FuseOptions(**{options!r}))\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert shown.stdout.strip() == "[]", shown.stderr


def test_sources_of_different_sizes_are_fused_at_the_chosen_size(pair: dict[str, Any]) -> None:
    small = np.ascontiguousarray(IR[::2, ::2][:13, :18])
    Path(pair["ir"]).write_bytes(encode_png(small))
    refuse(pair, PairMismatchError, "--resize")
    result = fuse_pair(FuseOptions(**pair, resize="visible"))
    assert (result.width, result.height, result.resized) == (37, 26, "infrared 18x13")
    assert pixels(pair["output"]).shape == (26, 37, 3)


def test_both_sources_may_be_bands_of_one_file(pair: dict[str, Any], tmp_path: Path) -> None:
    cube = np.concatenate([VIS, IR[..., None], IR[..., None]], axis=-1)
    tifffile.imwrite(tmp_path / "ms.tif", cube, photometric="minisblack", planarconfig="contig")
    both = dict.fromkeys(("ir", "vis"), str(tmp_path / "ms.tif"))
    fuse_pair(FuseOptions(**{**pair, **both}, band={"ir": "5", "vis": "1,2,3"}))
    assert (pixels(pair["output"]) == irfuse.fuse(IR, VIS, method="average")).all()
