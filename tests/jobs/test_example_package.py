"""The example package of the page about methods of one's own, in a fresh environment."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from support.cli import CommandResult, RunningCommand
from support.collections import read_rows, write_pairs
from support.environment import PROJECT_ROOT
from support.processes import wait_until

import irfuse
from fusion_core.extensions.checks import METHOD_CHECKS
from fusion_core.extensions.method_subject import MethodSubject
from fusion_core.images.synthetic import synthetic_pair

EXAMPLE = PROJECT_ROOT / "tests" / "example_package"
PAIRS = 6


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)


@pytest.mark.usefixtures("importable")
def test_the_example_fuses_and_scores_without_being_installed() -> None:
    ir, vis = synthetic_pair(50, 70, seed=1)
    fused = irfuse.fuse(ir, vis, method="gradientfusion.fusion:build")
    assert fused.shape == (50, 70, 3)
    mean = irfuse.fuse(ir, vis, method="gradientfusion.fusion:build", sharpness=0)
    assert np.abs(mean.astype(int) - irfuse.fuse(ir, vis, method="average")).max() <= 1
    scores = irfuse.score(ir, vis, fused, metrics=["gradientfusion.metrics:contrast", "SD"])
    assert scores["contrast"] == pytest.approx(scores["SD"])


@pytest.mark.usefixtures("importable")
def test_the_example_passes_all_checks() -> None:
    from gradientfusion.fusion import build  # type: ignore[import-not-found]

    subject = MethodSubject(build, build.parameters(), quick=True)
    subject.build()
    outcomes = {name: check(subject) for name, check in METHOD_CHECKS.items()}
    assert [name for name, outcome in outcomes.items() if outcome.status == "failed"] == []


class FreshEnvironment:
    """A virtual environment that has the packages of this one, and whatever is installed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        code = "import site; print(site.getsitepackages()[0])"
        packages = Path(self.output("-c", code).strip())
        paths = [*site.getsitepackages(), PROJECT_ROOT, PROJECT_ROOT / "jobs" / "public_api"]
        (packages / "outer.pth").write_text("\n".join(map(str, paths)))

    def output(self, *arguments: object) -> str:
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def irfuse(self, *arguments: object) -> CommandResult:
        """Run the command."""
        command = [str(self.python), "-m", "irfuse", *map(str, arguments)]
        with RunningCommand(command) as running:
            return running.wait(timeout=200)


@pytest.mark.slow
def test_the_example_is_installed_listed_and_runs_on_two_nodes(tmp_path: Path) -> None:
    fresh = FreshEnvironment(tmp_path / "venv")
    fresh.output("-m", "pip", "install", "--quiet", "--no-deps", EXAMPLE)
    listed = json.loads(fresh.irfuse("methods", "--json").stdout)["gradientfusion"]
    assert listed["origin"]["kind"] == "entry_point"
    assert (listed["origin"]["distribution"], listed["origin"]["version"]) == (
        "gradientfusion",
        "1.0.0",
    )
    checked = fresh.irfuse("check-method", "gradientfusion", "--quick")
    assert checked.returncode == 0, checked.stdout
    write_pairs(tmp_path / "in", PAIRS)
    address = tmp_path / "address"
    with RunningCommand([str(fresh.python), "-m", "support.ray_head", str(address), "1", "1"]):
        wait_until(address.exists, timeout=120, what="the cluster")
        result = fresh.irfuse(
            "run", tmp_path / "in", "--out", tmp_path / "out", "--method", "gradientfusion",
            "--metrics", "EN,contrast", "--address", address.read_text(), "--shard-size", 1,
            "--workers", 2,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert [row["status"] for row in rows] == ["ok"] * PAIRS
    assert all(row["contrast"] > 0 for row in rows)
    assert "contrast↑" in result.stdout
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())
    assert recorded["origin"]["method_origin"] == listed["origin"]
    # In an environment without the package, the name is unknown.
    command = [sys.executable, "-m", "irfuse", "methods", "gradientfusion"]
    with RunningCommand(command) as running:
        ended = running.wait(timeout=60)
    assert ended.returncode == 2
    assert "Unknown method 'gradientfusion'" in ended.stderr
    assert os.environ.get("PYTHONPATH", "").find("example_package") < 0
