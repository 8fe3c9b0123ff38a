"""The module `irfuse`: its names, and its packages whatever lies in the working directory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cli import start_cli
from support.collections import read_rows, run_command, write_pairs
from support.environment import child_environment

import irfuse
from fusion_core.images.synthetic import synthetic_pair


def write_foreign_files(folder: Path) -> None:
    """Write what a user's project may hold under the names of irfuse's packages."""
    (folder / "cluster.py").write_text("raise SystemExit('a foreign cluster.py was imported')\n")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "__init__.py").write_text("raise SystemExit('foreign jobs')\n")
    (folder / "fusion_core").mkdir()
    (folder / "ray.yaml").write_text("cluster_name: mine\n")


def run_python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    environment = child_environment()
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_public_names_are_listed_and_can_be_imported() -> None:
    assert {"fuse", "score", "run", "RunOptions", "IrfuseError"} <= set(dir(irfuse))
    for name in dir(irfuse):
        assert getattr(irfuse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = irfuse.nothing


def test_a_pair_is_fused_and_scored() -> None:
    ir, vis = synthetic_pair(40, 50, seed=1)
    fused = irfuse.fuse(ir, vis, method="average")
    assert fused.shape == (40, 50, 3)
    assert np.isfinite(irfuse.score(ir, vis, fused, metrics=["SD"])["SD"] or np.nan)


def test_foreign_files_of_the_same_names_do_not_matter_to_an_import(tmp_path: Path) -> None:
    write_foreign_files(tmp_path)
    code = "import irfuse, cluster, jobs, fusion_core; print(cluster.__file__, irfuse.fuse)"
    found = run_python(tmp_path, code)
    assert found.returncode == 0, found.stderr
    assert str(tmp_path) not in found.stdout


def test_a_foreign_package_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.py").write_text("")
    found = run_python(tmp_path, "import sys; sys.path.insert(0, ''); import cluster, irfuse")
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: irfuse requires its own package 'cluster'")
    assert f"{tmp_path}/cluster.py" in last
    assert "rename that file" in last


def test_a_run_from_a_folder_with_foreign_files_of_the_same_names(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_pairs(tmp_path / "in", 2)
    write_foreign_files(tmp_path)
    (tmp_path / "irfuse.py").write_text("raise SystemExit('a foreign irfuse.py was imported')\n")
    monkeypatch.chdir(tmp_path)
    # The working directory is not on the path of the installed command, nor here. Ray's workers
    # have it on theirs.
    safe = {"PYTHONSAFEPATH": "1"}
    with start_cli(*run_command(store.url, tmp_path / "out", ray_address), env=safe) as command:
        result = command.wait(timeout=120)
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in read_rows(tmp_path / "out")] == ["ok", "ok"]


@pytest.mark.slow
def test_a_training_from_a_folder_with_foreign_files_of_the_same_names(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_pairs(tmp_path / "in", 2)
    write_foreign_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ["--iterations", "2", "--crop", "16", "--batch", "1", "--address", ray_address]
    out = tmp_path / "out"
    with start_cli("train", "densefuse", "--images", store.url, "--out", out, *options) as command:
        result = command.wait(timeout=200)
    assert result.returncode == 0, result.stderr
    assert (out / "densefuse.safetensors").exists()
