"""The lists and descriptions of methods, metrics and weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.cli import call_cli
from support.environment import child_environment

from fusion_core.errors import WeightsError
from fusion_core.methods import METHODS, find_weights
from fusion_core.metrics import METRICS, PRESETS
from fusion_core.networks import IMAGENET_FILES, known_weights
from jobs.catalogue import weights
from jobs.options import WeightsOptions

HEAVY = ("torch", "torchvision", "ray", "pyarrow", "numpy", "numba")
NAMES = ("methods", "metrics", "weights")
lists = pytest.mark.parametrize("command", NAMES)


def printed(*arguments: str, columns: int = 80) -> str:
    """Return what a command prints on a terminal of this width."""
    with patch.dict(os.environ, COLUMNS=str(columns)):
        result = call_cli(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def parsed(*arguments: str) -> dict[str, Any]:
    """Return the JSON that a command prints."""
    content: dict[str, Any] = json.loads(printed(*arguments, "--json"))
    return content


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of torchvision's files, which is empty."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return folder


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of bundled weights."""
    folder = tmp_path / "pretrained"
    shutil.copytree(known_weights._BUNDLED, folder)
    monkeypatch.setattr(known_weights, "_BUNDLED", folder)
    return folder


@lists
def test_a_list_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['irfuse', '{command}']\n"
        "from jobs.console.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"


@lists
def test_a_list_fits_80_columns_with_one_line_each(command: str, torch_home: Path) -> None:
    registry = {"methods": METHODS, "metrics": METRICS, "weights": parsed("weights")}[command]
    lines = printed(command).splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if line]
    assert [name for name in names if name in registry] == list(registry)


def test_a_method_is_listed_with_its_year_network_weights_and_speed(torch_home: Path) -> None:
    lines = {line.split()[0]: line.split()[1:] for line in printed("methods").splitlines() if line}
    assert lines["densefuse"][:4] == ["2019", "autoencoder", "included", "1.1"]
    assert lines["resnet152"][:5] == ["2022", "ResNet-152", "to", "download", "4.5"]
    assert lines["average"][:3] == ["–", "none", "none"]


def test_weights_that_were_downloaded_are_here(torch_home: Path) -> None:
    IMAGENET_FILES[0].path.write_bytes(b"")
    assert parsed("methods")["vgg_multilayer"]["weights_state"] == "here"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_described_with_its_paper_and_every_parameter(name: str) -> None:
    text = printed("methods", name)
    assert max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.split())
    if (paper := METHODS[name].paper) is not None:
        assert f"{paper.citation} {paper.link} " in joined
    for parameter in METHODS[name].parameters.describe():
        assert f" {parameter.name}: " in joined
        assert f"(default {parameter.default}) {parameter.meaning}" in joined
        assert parameter.choices in joined


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_described_with_its_paper_and_when_it_is_undefined(name: str) -> None:
    metric = METRICS[name]
    joined = " ".join(printed("metrics", name).split())
    assert joined.startswith(f"{name}: {metric.title} better ")
    assert f"range {metric.range} " in joined
    assert f"undefined {metric.undefined or 'never'} " in joined
    assert joined.endswith(f"paper {metric.paper.citation} {metric.paper.link}")


def test_a_metric_is_listed_with_its_direction_range_and_year() -> None:
    lines = {line.split()[0]: line.split()[1:] for line in printed("metrics").splitlines() if line}
    assert lines["Nabf"][:3] == ["↓", "0..1", "2013"]
    assert lines["SCD"][:3] == ["↑", "-2..2", "2015"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_described_with_its_metrics_in_their_order(name: str) -> None:
    text = printed("metrics", name)
    assert text.startswith(f"{name}: {PRESETS[name].title}\n")
    listed = [line.split()[0] for line in text.partition("\n\n")[2].splitlines()[1:]]
    assert listed == list(PRESETS[name].columns)


def test_json_holds_the_parameters_of_a_method_with_their_types() -> None:
    parameters = {p["name"]: p for p in parsed("methods", "densefuse")["densefuse"]["parameters"]}
    assert (parameters["radius"]["type"], parameters["radius"]["choices"]) == ("integer", "0 to 64")
    assert parameters["strategy"]["type"] == "choice"


def test_json_holds_every_fact_of_a_metric() -> None:
    content = parsed("metrics")
    assert list(content) == list(METRICS)
    assert content["Nabf"]["higher_is_better"] is False
    assert content["SCD"]["paper"]["link"] == METRICS["SCD"].paper.link


@lists
def test_an_unknown_name_is_a_usage_error_with_a_suggestion(command: str) -> None:
    given = {"methods": "densfuse", "metrics": "qab", "weights": "res2net-fuse"}[command]
    meant = {"methods": "densefuse", "metrics": "Qabf", "weights": "res2netfuse"}[command]
    result = call_cli(command, given)
    assert result.returncode == 2
    assert result.stderr.strip().startswith("Error: Unknown ")
    assert meant in result.stderr.partition("did you mean")[2]


def test_bundled_weights_are_verified_by_the_digest_of_their_card() -> None:
    found = parsed("weights")["densefuse"]
    data = Path(found["path"]).read_bytes()
    assert found["state"] == "ok"
    assert found["sha256"] == found["published_sha256"] == hashlib.sha256(data).hexdigest()
    assert (found["licence"], found["default_of"]) == ("Apache-2.0", ["densefuse"])


def test_missing_weights_say_where_they_come_from_and_where_they_go(torch_home: Path) -> None:
    text = printed("weights", "VGG19_Weights.IMAGENET1K_V1")
    assert text.startswith("VGG19_Weights.IMAGENET1K_V1: not here\n")
    file = IMAGENET_FILES[0]
    assert file.url in text
    assert str(torch_home / "vgg19-dcbb9e9d.pth") in text


def test_damaged_bundled_weights_are_named_with_the_remedy(bundled: Path) -> None:
    file = bundled / "densefuse.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    result = call_cli("weights")
    assert result.returncode == 1
    states = dict(line.split()[:2] for line in result.stdout.splitlines() if line.split()[1:])
    assert states["densefuse"] == "damaged"
    assert f"Error: {file} is damaged or was changed: its SHA-256 begins with " in result.stderr
    assert result.stderr.strip().endswith("install irfuse again")


def test_a_damaged_download_is_named_with_the_remedy(torch_home: Path) -> None:
    IMAGENET_FILES[0].path.write_bytes(b"junk")
    (found,) = weights(WeightsOptions(name=IMAGENET_FILES[0].name))
    assert found.state == "damaged"
    assert str(found.problem).endswith(f"it is downloaded again from {IMAGENET_FILES[0].url}")


def test_a_folder_in_place_of_weights_is_named(torch_home: Path) -> None:
    IMAGENET_FILES[0].path.mkdir()
    (found,) = weights(WeightsOptions(name=IMAGENET_FILES[0].name))
    assert "it is a folder, not a file" in str(found.problem)


def test_damaged_bundled_weights_are_not_used(bundled: Path) -> None:
    file = bundled / "densefuse.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    parameters = METHODS["densefuse"].parameters()
    with pytest.raises(WeightsError, match="is damaged or was changed"):
        find_weights("densefuse", parameters, None, lambda source: b"")
