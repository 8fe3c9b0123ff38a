"""Methods of the user's own, from the names to the rows of a run on two nodes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cli import CommandResult, call_cli
from support.collections import SMALL, read_rows, run_options, write_pairs
from support.extensions import AVERAGE, METRIC, install_package, write_code
from support.models import Mean, export_onnx

import irfuse
from fusion_core.errors import ExtensionError, InvalidValueError, RunConflictError, RunFailedError
from fusion_core.images.colour import luma
from fusion_core.images.decoding import decode_image
from fusion_core.images.synthetic import synthetic_pair
from irfuse import RunOptions


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, SMALL)
    return folder


def own_run(pairs: Path, out: Path, method: object, address: str, **changed: object) -> RunOptions:
    settings = {"method": str(method), "weights": None, "metrics": ("EN",), **changed}
    return run_options(pairs, out, address=address, **settings)


def test_a_file_is_a_method_of_the_function_for_one_pair(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    ir, vis = synthetic_pair(20, 30, seed=0)
    expected = irfuse.fuse(ir, vis, method="average")
    assert np.array_equal(irfuse.fuse(ir, vis, method=f"{file}:fuse"), expected)
    write_code(tmp_path, {"mine.py": AVERAGE.replace("0.5", "1.0")})
    assert not np.array_equal(irfuse.fuse(ir, vis, method=f"{file}:fuse"), expected)


def test_a_file_runs_on_two_nodes_with_the_rows_of_the_same_method_of_irfuse(
    pairs: Path, tmp_path: Path, ray_address: str
) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    own = own_run(pairs, tmp_path / "own", f"{file}:fuse", ray_address, workers=2, shard_size=1)
    result = irfuse.run(own)
    assert (result.rows, result.failed) == (SMALL, 0)
    irfuse.run(own_run(pairs, tmp_path / "built-in", "average", ray_address))
    rows, expected = (read_rows(tmp_path / name) for name in ("own", "built-in"))
    for row, other in zip(rows, expected, strict=True):
        assert row["method"] == "mine.py:fuse"
        assert (row["fused"]["bytes"], row["EN"]) == (other["fused"]["bytes"], other["EN"])
    origin = json.loads((tmp_path / "own" / "run.json").read_text())["origin"]["method_origin"]
    assert (origin["kind"], len(origin["sha256"])) == ("file", 64)


def test_edited_code_is_another_run(pairs: Path, tmp_path: Path, ray_address: str) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    options = own_run(pairs, tmp_path / "out", f"{file}:fuse", ray_address)
    irfuse.run(options)
    assert irfuse.run(options).computed == 0
    write_code(tmp_path, {"mine.py": AVERAGE + "\n# edited"})
    with pytest.raises(RunConflictError, match=r"\(method_origin.sha256: existing '\w{12}…', requ"):
        irfuse.run(options)


def test_a_package_of_the_working_directory_is_sent_to_the_workers(
    pairs: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"ownpackage/__init__.py": "", "ownpackage/fusion.py": AVERAGE}
    monkeypatch.chdir(write_code(tmp_path / "project", package))
    options = own_run(pairs, tmp_path / "out", "ownpackage.fusion:fuse", ray_address)
    assert irfuse.run(options).failed == 0


def test_a_package_that_a_node_has_not_stops_the_run_before_the_first_pair(
    pairs: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_code(tmp_path / "site", {"only_on_the_driver.py": ""})
    code = f"import only_on_the_driver\n{AVERAGE}"
    file = write_code(tmp_path, {"mine.py": code}) / "mine.py"
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(
        RunFailedError,
        match=r"^Node \S+: Cannot load mine.py:fuse: it needs the module 'only_on_the_driver', "
        r"which is not installed .*; every node needs the packages",
    ):
        irfuse.run(own_run(pairs, tmp_path / "out", f"{file}:fuse", ray_address))
    assert not list((tmp_path / "out" / "shards").glob("*"))


def test_an_entry_point_that_a_node_has_not_stops_the_run_before_the_first_pair(
    pairs: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.methods elsewhere": "elsewhere:fuse"}
    install_package(tmp_path / "site", "elsewhere", points, {"elsewhere.py": AVERAGE}, "2.1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    with pytest.raises(
        RunFailedError,
        match=r"^Node \S+: elsewhere is not installed; it is of the package elsewhere 2\.1; every",
    ):
        irfuse.run(own_run(pairs, tmp_path / "out", "elsewhere", ray_address))


def test_a_model_file_runs_on_workers_with_its_side_file(
    pairs: Path, tmp_path: Path, ray_address: str
) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text("input_range = [0, 1]\npad_multiple = 8\n")
    out = tmp_path / "out"
    assert irfuse.run(own_run(pairs, out, path, ray_address, limit=3)).failed == 0
    origin = json.loads((out / "run.json").read_text())["origin"]["method_origin"]
    assert origin["kind"] == "onnx"
    assert origin["details"]["operators"].startswith("ai.onnx ")
    expected = irfuse.fuse(*sources_of(pairs, "0000"), method=str(path))
    assert np.array_equal(decode_image(read_rows(out)[0]["fused"]["bytes"]), expected)
    (tmp_path / "m.toml").write_text("input_range = [0, 255]\n")
    with pytest.raises(RunConflictError, match=r"method_origin\.side_file_sha256: existing"):
        irfuse.run(own_run(pairs, out, path, ray_address, limit=3))


def sources_of(pairs: Path, name: str) -> list[np.ndarray]:
    return [decode_image((pairs / kind / f"{name}.png").read_bytes()) for kind in ("ir", "vis")]


def test_a_model_that_executes_code_is_refused_by_a_run(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"anything")
    result = call_cli("run", pairs, "--out", tmp_path / "out", "--method", tmp_path / "m.pt2")
    assert result.returncode == 2
    assert "executes code when it is loaded" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_environment_of_pip_has_the_requirements_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# comment\nscipy>=1.17  # why\n\nkornia\n")
    own = run_options("in", "out", env={"pip": str(tmp_path / "r.txt")})
    assert own.cluster().runtime_env == {"pip": ["scipy>=1.17", "kornia"]}
    image = run_options("in", "out", env={"image_uri": "mine:1"})
    assert image.cluster().runtime_env == {"image_uri": "mine:1"}
    with pytest.raises(InvalidValueError, match="Expected pip=FILE or image_uri=IMAGE"):
        run_options("in", "out", env={"conda": "x"}).cluster()


@pytest.mark.slow
def test_an_environment_of_pip_is_made_on_the_node(
    pairs: Path, tmp_path: Path, ray_address: str
) -> None:
    project = """
    [build-system]
    requires = ["hatchling>=1.27"]
    build-backend = "hatchling.build"
    [project]
    name = "onlythere"
    version = "1.0"
    """
    package = {"package/pyproject.toml": project, "package/onlythere/__init__.py": "HALF = 0.5"}
    code = "def fuse(ir, vis):\n    import onlythere\n    return (ir + vis) * onlythere.HALF\n"
    write_code(tmp_path, {**package, "mine.py": code})
    (tmp_path / "r.txt").write_text(f"{tmp_path}/package\n")
    own = own_run(
        pairs, tmp_path / "out", f"{tmp_path}/mine.py:fuse", ray_address,
        env={"pip": str(tmp_path / "r.txt")}, limit=2,
    )  # fmt: skip
    assert irfuse.run(own).failed == 0


def test_a_metric_of_a_file_has_its_column_and_its_direction_in_tables(
    pairs: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_code(tmp_path, {"m.py": METRIC}) / "m.py"
    out = tmp_path / "out"
    metrics = ("EN", f"{file}:contrast")
    result = irfuse.run(own_run(pairs, out, "average", ray_address, metrics=metrics, limit=3))
    assert list(result.summary.subsets[0].metrics) == ["EN", "contrast"]
    for row in read_rows(out):
        fused = luma(decode_image(row["fused"]["bytes"]))
        assert row["contrast"] == pytest.approx(fused.std())
    recorded = json.loads((out / "run.json").read_text())["own_metrics"]["contrast"]
    assert (recorded["origin"]["kind"], recorded["decimals"]) == ("file", 2)
    monkeypatch.setattr("fusion_core.metrics.registry._OWN", {})
    text = call_cli("summarize", out).stdout
    assert "contrast↓" in text
    assert f"{result.summary.subsets[0].metrics['contrast'].mean:.2f}" in text.split()
    assert call_cli("show", out, "--best", "contrast", "-o", tmp_path / "s.png").returncode == 0


def test_a_metric_with_the_name_of_another_column_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    code = METRIC.replace("range=", "name='status', range=")
    file = write_code(tmp_path, {"m.py": code}) / "m.py"
    with pytest.raises(InvalidValueError, match="status has the name of another column"):
        irfuse.run(own_run(tmp_path / "in", tmp_path, "average", "", metrics=(f"{file}:contrast",)))


def test_metrics_lists_those_of_installed_packages_with_their_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.metrics contrast": "scorer:contrast", "irfuse.metrics broken": "scorer:none"}
    install_package(tmp_path, "scorer", points, {"scorer.py": METRIC}, "3.2")
    monkeypatch.syspath_prepend(tmp_path)
    lines = call_cli("metrics").stdout.splitlines()
    (good,) = [line for line in lines if line.startswith("contrast")]
    assert good.split(maxsplit=3)[1:] == ["scorer", "3.2", "Contrast of the fused image"]
    assert any(line.startswith("broken") and "Cannot load broken" in line for line in lines)
    assert "scorer 3.2" in call_cli("metrics", "contrast").stdout


def test_a_method_that_breaks_the_contract_has_failed_rows(
    pairs: Path, tmp_path: Path, ray_address: str
) -> None:
    code = "def fuse(ir, vis):\n    return ir[1:] if len(ir) == 48 else ir"
    file = write_code(tmp_path, {"mine.py": code}) / "mine.py"
    out = tmp_path / "out"
    own = own_run(pairs, out, f"{file}:fuse", ray_address, max_failure_rate=1.0, limit=3)
    assert irfuse.run(own).failed == 1
    first, *others = read_rows(out)
    assert [row["status"] for row in others] == ["ok", "ok"]
    assert (first["error_stage"], first["error_type"]) == ("fuse", "ContractError")
    assert "of shape (47, 64), but its sources require (48, 64)" in first["error_message"]


def test_the_command_fuses_one_pair_with_a_file_and_its_parameters(
    pairs: Path, tmp_path: Path
) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    sources = [pairs / "ir" / "0000.png", pairs / "vis" / "0000.png"]

    def command(*options: object) -> CommandResult:
        output = tmp_path / "fused.png"
        return call_cli("fuse", *sources, "-o", output, "--method", f"{file}:fuse", *options)

    result = command("--param", "weight=1")
    assert result.returncode == 0, result.stderr
    fused, ir = (decode_image(path.read_bytes()) for path in (tmp_path / "fused.png", sources[0]))
    assert np.array_equal(fused, ir)
    result = command("--param", "wieght=1", "--overwrite")
    assert result.returncode == 2
    assert "Unknown parameter 'wieght'; did you mean weight?" in result.stderr


def test_methods_lists_those_of_installed_packages_with_their_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.methods listed": "listed:fuse", "irfuse.methods broken": "listed:nothing"}
    install_package(tmp_path, "listed", points, {"listed.py": AVERAGE}, "3.2")
    monkeypatch.syspath_prepend(tmp_path)
    lines = call_cli("methods").stdout.splitlines()
    (good,) = [line for line in lines if line.startswith("listed")]
    assert good.split(maxsplit=3)[1:] == ["listed", "3.2", "Weighted mean of the sources"]
    assert any(line.startswith("broken") and "Cannot load broken" in line for line in lines)
    listed = json.loads(call_cli("methods", "--json").stdout)
    assert listed["listed"]["origin"]["distribution"] == "listed"
    assert listed["average"]["origin"] == {"kind": "built_in"}
    assert "problem" in listed["broken"]


def test_methods_describes_a_file(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    text = call_cli("methods", f"{file}:fuse").stdout
    assert text.startswith("mine.py:fuse: Weighted mean of the sources\n")
    assert "weight: number (default 0.5)" in text
    assert "from" in text


def test_code_that_cannot_be_loaded_is_one_sentence_and_a_usage_error(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"mine.py": "import nothing_like_it"}) / "mine.py"
    with pytest.raises(ExtensionError):
        irfuse.run(run_options(tmp_path, tmp_path / "out", method=f"{file}:fuse"))
    result = call_cli("run", tmp_path, "--out", tmp_path / "out", "--method", f"{file}:fuse")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: Cannot load mine.py:fuse: it needs the module 'nothing")
