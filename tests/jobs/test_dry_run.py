"""Dry runs: all problems at once, an estimate, and nothing that is written."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from support.cli import call_cli
from support.collections import SMALL, FinishedRun, run_options, write_pairs
from support.computed_runs import compute_run
from support.environment import forbid_ray
from support.s3 import S3Server

import irfuse
from cluster.storage.store import Store
from fusion_core.errors import InvalidValueError, RunFailedError
from jobs.console.dry_run import print_dry_run
from jobs.dry_run import DryRun, dry_run
from jobs.options import RunOptions, ScoreOptions


def dry_options(source: object, out: object, **changed: Any) -> RunOptions:
    return run_options(source, out, **{"dry_run": True, "dry_run_pairs": 4, **changed})


def shown(result: DryRun, options: RunOptions, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    print_dry_run(console, result, options)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(scope="module")
def tried(small: FinishedRun, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> DryRun:
    """A dry run of a small collection into a folder that does not exist."""
    out = tmp_path_factory.mktemp("tried") / "out"
    options = dry_options(small.source, out, address=ray_address, price_per_hour=2.0, workers=2)
    result = dry_run(options)
    assert not out.exists()
    return result


def test_a_dry_run_estimates_and_writes_nothing(tried: DryRun) -> None:
    assert (tried.problems, tried.rows, tried.rows_left, tried.sampled) == ([], SMALL, SMALL, 4)
    assert tried.sampled_by == 2
    found = tried.estimate
    assert found is not None
    assert 0 < found.seconds_low < found.seconds < found.seconds_high
    assert found.price == pytest.approx(2.0 * found.core_hours)
    assert found.workers == 2
    assert found.memory_per_worker > 100e6
    assert tried.headers is not None
    assert tried.headers.pairs == SMALL
    assert all(ms > 0 for stage, ms in tried.stages_ms.items() if stage != "check")


def test_the_bytes_are_those_of_the_run(tried: DryRun, small: FinishedRun) -> None:
    assert tried.estimate is not None
    written = sum(path.stat().st_size for path in (small.out / "shards").iterdir())
    read = sum(path.stat().st_size for path in small.source.rglob("*.png"))
    assert tried.estimate.bytes_written == pytest.approx(written, rel=0.2)
    assert tried.estimate.bytes_read == read


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_is_printed_fits_the_terminal(tried: DryRun, width: int) -> None:
    text = shown(tried, dry_options("in", "out", price_per_hour=2.0), width)
    lines = [line for line in text.splitlines() if tried.out not in line]
    assert max(map(len, lines)) <= width
    assert text.endswith("Nothing was written.\n")
    assert "64x48" in text
    assert "at 2/h per worker" in " ".join(text.split())


def test_all_problems_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "in", 4)
    Image.new("L", (8, 8)).save(tmp_path / "in/ir/0001.png")
    (tmp_path / "in/vis/0002.png").write_bytes(b"no image")
    forbid_ray(monkeypatch, "jobs.dry_run")
    result = dry_run(
        dry_options(tmp_path / "in", tmp_path / "out", weights="random:x", metrics=("EN", "ENN"))
    )
    weights, metric, pairs = result.problems
    assert "random:x" in weights
    assert "did you mean EN?" in metric
    assert "2 of 4 pairs whose headers were read would fail" in pairs
    assert "0001: infrared 8x8, visible 57x33" in pairs
    with pytest.raises(RunFailedError, match="3 problems"):
        result.require_ready()
    assert not (tmp_path / "out").exists()


def test_few_bad_pairs_are_a_note(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 4)
    (tmp_path / "in/vis/0002.png").write_bytes(b"no image")
    (tmp_path / "in/vis/alone.png").write_bytes(b"no partner")
    result = dry_run(
        dry_options(tmp_path / "in", tmp_path / "o", max_failure_rate=0.5, weights="random:x")
    )
    assert len(result.problems) == 1  # the weights
    partner, failing = result.notes
    assert "without a partner (1)" in partner
    assert failing.startswith("1 of 4 pairs whose headers were read would fail (0002: ")


def test_a_run_with_other_settings_in_out_is_a_problem_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = compute_run(tmp_path, 5)
    before = {entry.key: out.read(entry.key) for entry in out.entries()}
    forbid_ray(monkeypatch, "jobs.dry_run")
    result = dry_run(
        dry_options(
            tmp_path / "in", out.url, method="average", weights=None, limit=2, metrics=("ENN",)
        )
    )
    _, conflict = result.problems
    assert "selection.limit: existing None, requested 2" in conflict
    assert {entry.key: out.read(entry.key) for entry in out.entries()} == before


def test_a_finished_run_has_nothing_to_compute(
    small: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch, "jobs.dry_run")
    result = dry_run(dry_options(small.source, small.out))
    assert (result.problems, result.resumes, result.rows_left) == ([], True, 0)
    text = shown(result, dry_options(small.source, small.out))
    assert f"continues a run with {SMALL} of {SMALL} pairs" in " ".join(text.split())
    assert "all pairs are computed already" in text


def test_a_probe_finds_out_whether_out_can_be_written(s3_seaweed: S3Server, tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    out = f"s3://{s3_seaweed.new_bucket()}/out"
    given: dict[str, Any] = {"probe_write": True, "metrics": ("none",)}
    for server, writable in ((s3_seaweed, True), (s3_seaweed.read_only, False)):
        result = dry_run(
            dry_options(tmp_path, out, storage_options=server.storage_options, **given)
        )
        assert result.writable is writable
        assert any("permi" in text or "denied" in text for text in result.problems) != writable
    assert Store(out, s3_seaweed.storage_options).entries() == []


def test_scoring_is_tried_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "in", 3)
    options = ScoreOptions(
        source=str(tmp_path / "in"),
        out=str(tmp_path / "o"),
        name="x",
        fused=str(tmp_path / "absent"),
        dry_run=True,
    )
    forbid_ray(monkeypatch, "jobs.dry_run")
    result = dry_run(options)
    (problem,) = result.problems
    assert "absent" in problem


def test_a_run_refuses_options_of_a_dry_run(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    with pytest.raises(InvalidValueError, match=r"irfuse\.dry_run"):
        irfuse.run(dry_options(tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_prints_json_and_ends_with_status_1(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    command = ("run", tmp_path / "in", "-o", tmp_path / "out", "--metrics", "ENN", "--dry-run")
    ended = call_cli(*command, "--json")
    assert ended.returncode == 1
    assert "Error: The run cannot be started as it is (1 problem)" in ended.stderr
    assert "did you mean EN?" in json.loads(ended.stdout)["problems"][0]
