"""Every method through the call for one pair, the job and the command."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from numpy.typing import NDArray
from safetensors.torch import save
from support.cli import CommandResult, call_cli
from support.collections import SIZES, read_rows, write_pairs
from support.environment import forbid_ray

import irfuse
from fusion_core import fuse
from fusion_core.choices import SixteenBit
from fusion_core.errors import InvalidValueError, RunConflictError, WeightsError
from fusion_core.images.bit_depth import to_eight_bit
from fusion_core.images.decoding import decode_image
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.methods import METHODS
from irfuse import RunOptions

PAIRS = 3
HEIGHT, WIDTH = 26, 37
IR, COLOUR = synthetic_pair(HEIGHT, WIDTH, seed=3)
BEGINNING = ("conv1", "bn1", "layer1")
GRAY = synthetic_pair(HEIGHT, WIDTH, seed=4, colour=False)[1]
AVERAGES = ("vgg_multilayer", "resnet_zca", "resnet152")
"""Methods that print what they compute as it is."""

methods = pytest.mark.parametrize("method", METHODS)


def chroma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return Cb and Cr `(H, W, 2)` in full range."""
    red, green, blue = (image[..., channel].astype(np.float64) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack(((blue - luma) / 1.772, (red - luma) / 1.402), axis=-1)


def deep(seed: int, *shape: int) -> NDArray[np.uint16]:
    """Return an image that fills a part of 16 bits only."""
    return np.random.default_rng(seed).integers(900, 9000, shape, dtype=np.uint16)


def random_resnet50(seed: int, parts: tuple[str, ...] = ("",)) -> bytes:
    """Return a file of an untrained ResNet-50, or of the parts whose names begin so."""
    torch.manual_seed(seed)
    state = torchvision.models.resnet50(weights=None).state_dict()
    return save({name: tensor for name, tensor in state.items() if name.startswith(parts)})


def untrained(method: str) -> dict[str, Any]:
    """Return the arguments that choose a method, with random weights if it needs any.

    `jsr` and `jsrsd` have the dictionary that is not learned, which takes seconds.
    """
    spec = METHODS[method]
    weights = "random:0" if spec.needs_weights else None
    return {"method": method, "weights": weights, **spec.variants[0]}


# One pair of arrays


@methods
def test_gray_pair_gives_a_gray_image(method: str) -> None:
    fused = fuse(IR, GRAY, **untrained(method))
    assert (str(fused.dtype), fused.shape) == ("uint8", (HEIGHT, WIDTH))
    assert np.ptp(fused) > 50


@methods
def test_luma_keeps_the_chroma_of_the_visible_image(method: str) -> None:
    fused = fuse(IR, COLOUR, **untrained(method), colour="luma")
    assert (str(fused.dtype), fused.shape) == ("uint8", (HEIGHT, WIDTH, 3))
    inside = ((fused > 0) & (fused < 255)).all(axis=-1)  # nothing was clipped there
    assert inside.mean() > 0.2
    assert np.abs(chroma(fused) - chroma(COLOUR))[inside].max() <= 0.51


@methods
def test_gray_fuses_the_luma_and_gives_a_gray_image(method: str) -> None:
    fused = fuse(IR, COLOUR, **untrained(method), colour="gray")
    luma = np.floor(COLOUR @ np.array([0.299, 0.587, 0.114]) + 0.5 + 1e-9).astype(np.uint8)
    assert str(fused.dtype) == "uint8"
    assert np.array_equal(fused, fuse(IR, luma, **untrained(method), colour="gray"))


@methods
def test_per_channel_fuses_each_channel_with_the_infrared_image(method: str) -> None:
    wanted = {**untrained(method), "colour": "per_channel"}
    fused = fuse(IR, COLOUR, **wanted)
    assert str(fused.dtype) == "uint8"
    alone = np.stack([fuse(IR, COLOUR[..., channel], **wanted) for channel in range(3)], axis=-1)
    assert np.abs(fused.astype(int) - alone).max() <= 1


@methods
@pytest.mark.parametrize("rule", ["percentile", "full"])
def test_deep_sources_are_brought_to_eight_bits_by_the_rule(method: str, rule: SixteenBit) -> None:
    ir, vis = deep(1, HEIGHT, WIDTH), deep(2, HEIGHT, WIDTH, 3)
    wanted = {**untrained(method), "sixteen_bit": rule}
    fused = fuse(ir, vis, **wanted)
    assert (str(fused.dtype), fused.shape) == ("uint8", (HEIGHT, WIDTH, 3))
    assert np.array_equal(fused, fuse(to_eight_bit(ir, rule), to_eight_bit(vis, rule), **wanted))


@methods
def test_minmax_stretches_the_result_to_all_of_eight_bits(method: str) -> None:
    fused = fuse(IR, GRAY, **untrained(method), output_range="minmax")
    assert (str(fused.dtype), fused.shape) == ("uint8", (HEIGHT, WIDTH))
    assert (fused.min(), fused.max()) == (0, 255)


@methods
def test_clip_differs_from_minmax(method: str) -> None:
    wanted = untrained(method)
    clipped = fuse(IR, GRAY, output_range="clip", **wanted)
    assert (str(clipped.dtype), clipped.shape) == ("uint8", (HEIGHT, WIDTH))
    assert not np.array_equal(clipped, fuse(IR, GRAY, output_range="minmax", **wanted))


@pytest.mark.parametrize("method", AVERAGES)
def test_what_is_averaged_is_clipped_by_default(method: str) -> None:
    wanted = {"method": method, "weights": "random:0"}
    assert np.array_equal(fuse(IR, GRAY, **wanted), fuse(IR, GRAY, output_range="clip", **wanted))


def test_a_changed_weight_file_of_a_backbone_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.safetensors"
    wanted: dict[str, Any] = {"method": "resnet_zca", "layer": "conv2", "weights": path}
    path.write_bytes(random_resnet50(1, BEGINNING))
    os.utime(path, (1e9, 1e9))  # written long ago: file systems count time in coarse ticks
    before = fuse(IR, GRAY, **wanted)
    assert np.array_equal(fuse(IR, GRAY, **wanted), before)
    path.write_bytes(random_resnet50(2, BEGINNING))
    after = fuse(IR, GRAY, **wanted)
    assert not np.array_equal(after, before)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    assert np.array_equal(fuse(IR, GRAY, **(wanted | {"weights": copy})), after)


@pytest.mark.parametrize(
    ("method", "parameters", "told"),
    [
        (
            "resnet_zca",
            {"backbone": "vgg19", "layer": "conv4"},
            ["layer", "vgg19", "relu1_1, relu2_1, relu3_1, relu4_1", "conv4"],
        ),
        (
            "resnet_zca",
            {"layer": "relu4_1"},
            ["layer", "resnet50", "conv2, conv3, conv4, conv5", "relu4_1"],
        ),
        ("resnet_zca", {"layer": "conv1"}, ["Parameter layer: ", "'conv2', ", "got 'conv1'"]),
        ("resnet_zca", {"backbone": "vgg16"}, ["Parameter backbone: ", "'resnet50', ", "'vgg16'"]),
        ("resnet_zca", {"epsilon": 0}, ["Parameter epsilon: ", "greater than 0, but got 0"]),
        ("resnet152", {"filter_size": 4}, ["filter_size", "an odd number", "got 4"]),
        ("resnet152", {"filter_size": 7}, ["Parameter filter_size: ", "variant=text"]),
        ("resnet152", {"variant": "code"}, ["Parameter variant: ", "'published' or 'text'"]),
        ("resnet152", {"filter_size": 257}, ["Parameter filter_size: ", "255, but got 257"]),
        ("resnet152", {"infrared_weight": 1.5}, ["Parameter infrared_weight: ", "got 1.5"]),
        ("vgg_multilayer", {"strategy": "mean"}, ["Unknown parameter 'strategy'; ", "smoothness"]),
        ("vgg_multilayer", {"smoothness": -1}, ["Parameter smoothness: ", "got -1"]),
        ("res2netfuse", {"radius": 1}, ["Unknown parameter 'radius'; ", "strategy, mean_weights"]),
        ("res2netfuse", {"mean_weights": "max"}, ["Parameter mean_weights: ", "'softmax'"]),
        ("res2netfuse", {"precision": "fp16"}, ["Parameter precision: ", "'fp32' or 'bf16'"]),
    ],
    ids=str,
)
def test_a_bad_parameter_is_refused_with_what_is_possible(
    method: str, parameters: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        fuse(IR, GRAY, method=method, weights="random:0", **parameters)
    message = str(caught.value)
    assert [part for part in told if part not in message] == []
    assert message.count("but got") <= 1
    assert "Parameter :" not in message
    assert "Value error" not in message


# Whole runs


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    write_pairs(folder, PAIRS)
    return folder


def options(source: object, out: object, **changed: Any) -> RunOptions:
    settings = {"weights": "random:0", "workers": 1, "metrics": ("EN",), **changed}
    return RunOptions(source=str(source), out=str(out), **settings)


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, and what the command printed if it was one."""

    out: Path
    command: CommandResult | None = None

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.out / "run.json").read_text())
        return record

    def check(self, method: str) -> None:
        """Check that every pair has its row and its picture."""
        rows = read_rows(self.out)
        assert [(row["status"], row["error_message"]) for row in rows] == [("ok", None)] * PAIRS
        assert {row["method"] for row in rows} == {method}
        shapes = [decode_image(row["fused"]["bytes"]).shape for row in rows]
        assert shapes == [SIZES[0], (*SIZES[1], 3), (*SIZES[2], 3)]
        assert all(row["EN"] > 0 for row in rows)


@pytest.fixture(scope="module")
def vgg_run(
    collection: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> FinishedRun:
    """`vgg_multilayer` with random weights, by the command."""
    out = tmp_path_factory.mktemp("vgg")
    result = call_cli(
        "run", collection, "--out", out, "--method", "vgg_multilayer", "--weights", "random:0",
        "--param", "features=relu", "--metrics", "EN", "--address", ray_address, "--workers", "1",
        env={"COLUMNS": "100"},
    )  # fmt: skip
    return FinishedRun(out, result)


@pytest.fixture(scope="module")
def res2net_run(
    collection: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> FinishedRun:
    """`res2netfuse` with random weights."""
    out = tmp_path_factory.mktemp("res2net")
    irfuse.run(options(collection, out, method="res2netfuse", address=ray_address))
    return FinishedRun(out)


ZCA: dict[str, Any] = {
    "method": "resnet_zca",
    "params": {"layer": "conv4", "norm": "nuclear"},
}


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a whole ResNet-50."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    path.write_bytes(random_resnet50(1))
    return path


@pytest.fixture(scope="module")
def zca_run(
    collection: Path, resnet50: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> FinishedRun:
    """`resnet_zca` with the weights of a file."""
    out = tmp_path_factory.mktemp("zca")
    irfuse.run(options(collection, out, weights=resnet50, address=ray_address, **ZCA))
    return FinishedRun(out)


def test_the_command_runs_vgg_multilayer(vgg_run: FinishedRun) -> None:
    assert vgg_run.command is not None
    assert vgg_run.command.returncode == 0, vgg_run.command.stderr
    vgg_run.check("vgg_multilayer")


def test_a_run_of_resnet_zca_with_the_nuclear_norm_has_every_row(zca_run: FinishedRun) -> None:
    zca_run.check("resnet_zca")


def test_a_run_of_res2netfuse_has_every_row(res2net_run: FinishedRun) -> None:
    res2net_run.check("res2netfuse")


def test_a_worker_fuses_as_the_call_for_one_pair_does(
    collection: Path, zca_run: FinishedRun, resnet50: Path
) -> None:
    row = read_rows(zca_run.out)[1]
    ir, vis = (
        decode_image((collection / part / "0001.png").read_bytes()) for part in ("ir", "vis")
    )
    expected = fuse(ir, vis, method="resnet_zca", weights=resnet50, **ZCA["params"])
    difference = decode_image(row["fused"]["bytes"]).astype(int) - expected
    assert np.abs(difference).max() <= 1


def test_random_weights_are_recorded_as_untrained(
    vgg_run: FinishedRun, res2net_run: FinishedRun
) -> None:
    for record in (vgg_run.record, res2net_run.record):
        found = [record["origin"][key] for key in ("weights", "weights_sha256", "weights_trained")]
        assert found == ["random:0", "random:0", False]


def test_the_parameters_are_recorded_with_their_defaults(vgg_run: FinishedRun) -> None:
    assert vgg_run.record["origin"]["parameters"] == {
        "colour": "luma",
        "output_range": "clip",
        "sixteen_bit": "percentile",
        "precision": "fp32",
        "convolution": "winograd",
        "smoothness": 5.0,
        "radius": 1,
        "features": "relu",
        "input_scale": "published",
    }


def test_a_weight_file_is_recorded_as_trained_with_the_digest_of_all_of_it(
    zca_run: FinishedRun, resnet50: Path
) -> None:
    record = zca_run.record["origin"]
    digest = hashlib.sha256(resnet50.read_bytes()).hexdigest()
    found = [record[key] for key in ("weights", "weights_sha256", "weights_trained")]
    assert found == [str(resnet50), digest, True]


def printed(*arguments: str | Path) -> str:
    """Return what a command of `irfuse` prints on 100 columns."""
    with patch.dict(os.environ, COLUMNS="100"):
        return call_cli(*arguments).stdout


def test_run_status_and_summary_say_that_weights_are_untrained(vgg_run: FinishedRun) -> None:
    assert vgg_run.command is not None
    name = "vgg_multilayer(features=relu) [untrained]"
    title = f"{name}, 3 pairs"
    assert title in " ".join(vgg_run.command.stdout.split())
    assert f"run  {name}\n" in printed("status", vgg_run.out)
    assert title in " ".join(printed("summarize", vgg_run.out).split())


def test_status_and_summary_of_trained_weights_say_nothing_of_them(zca_run: FinishedRun) -> None:
    assert "run  resnet_zca(norm=nuclear)\n" in printed("status", zca_run.out)
    assert "resnet_zca(norm=nuclear), 3 pairs" in printed("summarize", zca_run.out)


def test_a_run_is_not_resumed_with_other_weights(
    collection: Path, zca_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    there = zca_run.record["origin"]["weights_sha256"]
    other = tmp_path / "other.safetensors"
    other.write_bytes(random_resnet50(2))
    here = hashlib.sha256(other.read_bytes()).hexdigest()
    with pytest.raises(
        RunConflictError,
        match=f"weights_sha256: existing '{there[:12]}…', requested '{here[:12]}…'",
    ):
        irfuse.run(options(collection, zca_run.out, weights=other, **ZCA))


def test_a_run_is_not_resumed_with_random_weights_in_place_of_trained_ones(
    collection: Path, zca_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    with pytest.raises(RunConflictError, match="weights_trained: existing True, requested False"):
        irfuse.run(options(collection, zca_run.out, **ZCA))


def test_a_run_is_resumed_with_the_same_weights_at_another_place(
    collection: Path,
    zca_run: FinishedRun,
    resnet50: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbid_ray(monkeypatch)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(resnet50.read_bytes())
    result = irfuse.run(options(collection, zca_run.out, weights=copy, **ZCA))
    assert (result.rows, result.computed) == (PAIRS, 0)


# Weights that cannot be had


PLACE = Path("hub", "checkpoints", "resnet50-0676ba61.pth")
URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


def test_weights_that_cannot_be_downloaded_are_told_in_one_sentence_before_ray_starts(
    collection: Path, tmp_path: Path
) -> None:
    result = call_cli(
        "run", collection, "--out", tmp_path / "out", "--method", "resnet_zca",
        env={"TORCH_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    first, error = result.stderr.splitlines()  # and nothing of Ray
    place = tmp_path / PLACE
    assert first == f"Downloading ResNet50_Weights.IMAGENET1K_V1 from {URL} to {place}"
    assert error.startswith("Error: ResNet50_Weights.IMAGENET1K_V1 is not on this machine and ")
    assert f"fetch {URL} elsewhere and put it at {place}, or" in error
    assert not (tmp_path / "out").exists()


def test_weights_that_were_changed_are_told_before_anything_starts(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / PLACE
    place.parent.mkdir(parents=True)
    place.write_bytes(random_resnet50(1, BEGINNING))
    with pytest.raises(WeightsError) as caught:
        irfuse.run(options(collection, tmp_path / "out", weights=None, **ZCA))
    message = str(caught.value)
    assert message.startswith(f"{place} is damaged or was changed: its SHA-256 begins with ")
    assert message.endswith(f"not with 0676ba61; delete it, and it is downloaded again from {URL}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"method": "res2netfuse", "weights": None, "params": {"convolutions": "separate"}},
            "res2netfuse needs weights: give the trained",
        ),
        ({"method": "resnet152", "weights": "IMAGENET1K_V3"}, "has no weights IMAGENET1K_V3"),
        ({"method": "resnet152", "weights": "/no/such"}, "There is no weight file at /no/such"),
        ({"method": "densefuse", "weights": "DEFAULT"}, "There is no weight file at .*DEFAULT"),
    ],
    ids=str,
)
def test_wrong_weights_are_told_before_anything_starts(
    collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    message: str,
) -> None:
    forbid_ray(monkeypatch)
    with pytest.raises(WeightsError, match=message):
        irfuse.run(options(collection, tmp_path / "out", **changed))
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_network_is_told_before_anything_starts(
    collection: Path, resnet50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    with pytest.raises(WeightsError, match="holds weights of another network"):
        irfuse.run(options(collection, tmp_path / "out", method="resnet152", weights=resnet50))
    assert not (tmp_path / "out").exists()
