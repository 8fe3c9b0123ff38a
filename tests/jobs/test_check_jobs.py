"""The commands that check methods and metrics of the user's own, in processes of their own."""

import json
from pathlib import Path

import pytest
from support.bad_methods import BAD_METHODS, MISSING_IMPORT, NAMED_LINES
from support.cli import CommandResult, call_cli
from support.collections import read_rows, run_options, write_pairs
from support.extensions import AVERAGE, METRIC, write_code

import irfuse
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.extensions.checks import FRESH_METHOD_CHECKS, METHOD_CHECKS
from irfuse import CheckMethodOptions, CheckMetricOptions, RunOptions


def check_method(target: object, *options: object) -> CommandResult:
    return call_cli("check-method", target, "--quick", *options)


def test_a_good_method_passes_here_and_in_another_process(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"mine.py": AVERAGE}) / "mine.py"
    result = check_method(f"{file}:fuse", "--param", "weight=0.3", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report.keys() == {"target", "digest", "origin", "checks"}
    assert (report["target"], report["origin"]["kind"]) == ("mine.py:fuse", "file")
    statuses = {check["name"]: check["status"] for check in report["checks"]}
    assert list(statuses) == ["loads", *list(METHOD_CHECKS)[1:], "processes", *FRESH_METHOD_CHECKS]
    skipped = {"tiling", "memory", "expected images"}
    assert all(status == "passed" for name, status in statuses.items() if name not in skipped)


def test_what_kills_its_process_fails_at_its_line_and_the_rest_is_named(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"bad.py": BAD_METHODS}) / "bad.py"
    result = check_method(f"{file}:exiting")
    assert result.returncode == 1
    assert "✗ runs             the process ended with exit status 1" in result.stdout
    assert "– not checked: sizes, finite," in result.stdout
    assert result.stderr.endswith("Error: 1 check failed: runs\n")


def test_what_cannot_be_loaded_ends_with_status_2(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"bad.py": MISSING_IMPORT}) / "bad.py"
    result = check_method(f"{file}:fuse")
    assert result.returncode == 2
    assert "✗ loads" in result.stdout
    assert "needs the module 'no_such_module', which is not installed" in result.stderr


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(InvalidValueError, match="did you mean densefuse"):
        irfuse.check_method(CheckMethodOptions(target="densfuse"))
    with pytest.raises(InvalidValueError, match="did you mean SCD"):
        irfuse.check_metric(CheckMetricOptions(target="scd"))


def test_expected_images_need_pairs() -> None:
    with pytest.raises(InvalidValueError, match="--expect needs --pairs"):
        irfuse.check_method(CheckMethodOptions(target="average", expect="x"))
    with pytest.raises(InvalidValueError, match="--expect needs --pairs and --fused"):
        irfuse.check_metric(CheckMetricOptions(target="EN", expect="x"))


def test_a_metric_is_compared_with_known_scores(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 2)
    file = write_code(tmp_path, {"m.py": METRIC}) / "m.py"
    known = tmp_path / "scores.csv"
    known.write_text("pair_id,contrast\n0000,3.0\n0001,4.0\n")
    options = CheckMetricOptions(
        target=f"{file}:contrast",
        pairs=str(tmp_path / "in"),
        fused=str(tmp_path / "in" / "vis"),
        expect=str(known),
    )
    report = irfuse.check_metric(options)
    assert report.failed == ["expected scores"]


def test_a_run_checks_its_method_first_and_keeps_the_report(
    tmp_path: Path, ray_address: str
) -> None:
    write_pairs(tmp_path / "in", 2)
    folder = write_code(tmp_path, {"mine.py": AVERAGE, "bad.py": BAD_METHODS})

    def own(name: str) -> RunOptions:
        return run_options(
            tmp_path / "in", tmp_path / "out", method=f"{folder}/{name}", weights=None, check=True,
            address=ray_address, metrics=("EN",),
        )  # fmt: skip

    with pytest.raises(RunFailedError, match=r"^The check 'range' of bad\.py:unit_range failed: "):
        irfuse.run(own("bad.py:unit_range"))
    assert not (tmp_path / "out").exists()
    irfuse.run(own("mine.py:fuse"))
    report = json.loads((tmp_path / "out" / "checks.json").read_text())
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["digest"] == recorded["origin"]["method_origin"]["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_LINES)
def test_each_bad_method_fails_at_its_line(tmp_path: Path, name: str) -> None:
    file = write_code(tmp_path, {"bad.py": BAD_METHODS}) / "bad.py"
    options = CheckMethodOptions(target=f"{file}:{name}", quick=True, timeout=5)
    assert NAMED_LINES[name] in irfuse.check_method(options).failed


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_LINES)
def test_a_run_of_each_bad_method_ends_with_rows(
    tmp_path: Path, ray_address: str, name: str
) -> None:
    write_pairs(tmp_path / "in", 2)
    file = write_code(tmp_path, {"bad.py": BAD_METHODS}) / "bad.py"
    own = run_options(
        tmp_path / "in",
        tmp_path / "out",
        method=f"{file}:{name}",
        weights=None,
        metrics=("EN",),
        address=ray_address,
        pair_timeout=15.0,
        max_failure_rate=1.0,
    )
    irfuse.run(own)
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 2
    stages = {row["error_stage"] for row in rows}
    if NAMED_LINES[name] == "runs":
        assert stages == {"crash"}
    elif name in ("wrong_size", "downloading", "three_channels"):
        assert "fuse" in stages


@pytest.mark.slow
def test_a_run_of_a_method_that_cannot_be_imported_ends_at_once(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 2)
    file = write_code(tmp_path, {"bad.py": MISSING_IMPORT}) / "bad.py"
    own = run_options(tmp_path / "in", tmp_path / "out", method=f"{file}:fuse", weights=None)
    with pytest.raises((InvalidValueError, RunFailedError), match="no_such_module"):
        irfuse.run(own)
