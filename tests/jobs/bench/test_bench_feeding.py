"""`irfuse bench feeding`: what it measures, and that threads and windows change no row."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.collections import read_rows, stable, write_pairs
from support.s3 import S3Server

from cluster.runs import ShardProcessor, ShardTask, WorkerConfig, loading, stages
from fusion_core.errors import InvalidValueError, IrfuseError, ManifestError
from jobs.bench.feeding import FeedingReport, SleepingComputer, bench_feeding
from jobs.bench.tables import print_feeding_report
from jobs.console.commands import build_app
from jobs.execution import PlannedRun
from jobs.fusing import plan_fusing
from jobs.options import RunOptions
from jobs.progress import SilentProgress

TINY: dict[str, Any] = {"width": 40, "height": 30, "pairs": 10, "step_ms": 3.0}


@pytest.fixture(scope="module")
def report() -> FeedingReport:
    return bench_feeding(**TINY)


def test_every_pair_of_every_kind_has_a_step(report: FeedingReport) -> None:
    kinds = ["gray-png", "colour-png", "gray-jpeg", "colour-jpeg"]
    assert [timing.images for timing in report.timings] == kinds
    for timing in report.timings:
        assert (timing.pairs, timing.steps, timing.step_ms) == (10, 10, 3.0)


def test_the_device_is_busy_for_the_time_of_the_steps(report: FeedingReport) -> None:
    for timing in report.timings:
        assert timing.seconds >= 10 * 3e-3
        assert timing.busy == pytest.approx(10 * 3e-3 / timing.seconds)
        assert 0 < timing.busy <= 1
        assert timing.pairs_per_second == pytest.approx(10 / timing.seconds)


def test_the_stages_add_up_to_the_cpu_time_of_a_pair(report: FeedingReport) -> None:
    for timing in report.timings:
        assert list(timing.stage_cpu_ms) == ["read", "decode", "encode", "commit", "other"]
        assert sum(timing.stage_cpu_ms.values()) == pytest.approx(timing.cpu_ms)
        assert all(timing.stage_cpu_ms[name] > 0 for name in ("read", "decode", "encode", "commit"))
        assert timing.cores_for_one_device == pytest.approx(timing.cpu_ms / 3.0)


def test_the_table_has_a_line_for_each_kind(report: FeedingReport) -> None:
    output = io.StringIO()
    print_feeding_report(Console(file=output, width=80), report)
    text = output.getvalue()
    assert "3 ms per pair on the device; files in a temporary folder" in text
    for timing in report.timings:
        (line,) = [line for line in text.splitlines() if line.startswith(timing.images)]
        assert f"{timing.pairs_per_second:.0f}" in line
        assert f"{timing.cpu_ms:.2f}" in line
    assert max(map(len, text.splitlines())) <= 80


def test_given_pairs_are_measured_and_unreadable_ones_have_no_step(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 5)
    _first_file(tmp_path / "in").write_bytes(b"no image")
    (timing,) = bench_feeding(source=str(tmp_path / "in"), step_ms=1).timings
    assert (timing.images, timing.pairs, timing.steps) == ("given", 5, 4)


def _first_file(folder: Path) -> Path:
    return min(path for path in folder.rglob("*") if path.is_file())


def test_a_source_without_a_readable_pair_is_an_error(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    _first_file(tmp_path / "in").write_bytes(b"no image")
    with pytest.raises(IrfuseError, match=r"No pair of .* could be read; see `irfuse pairs"):
        bench_feeding(source=str(tmp_path / "in"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError):
        bench_feeding(source=str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": ["red-png"]}, "Expected images of gray-png, .* but got red-png"),
        ({"pairs": 0}, "640x480, 0 and 2"),
        ({"step_ms": 0.0}, "640x480, 512 and 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        bench_feeding(**settings)


def test_nothing_is_left_at_the_location(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_app()
    app(
        [
            "bench", "feeding", "--size", "40x30", "--pairs", "4", "--step-ms", "1", "--images",
            "gray-jpeg", "--location", str(tmp_path), "--json",
        ],
        result_action="return_value",
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert found["location"] == str(tmp_path)
    assert [timing["images"] for timing in found["timings"]] == ["gray-jpeg"]
    assert list(tmp_path.iterdir()) == []


def test_pairs_and_shards_can_be_in_s3(s3_moto: S3Server) -> None:
    bucket = s3_moto.new_bucket()
    settings = {**TINY, "location": f"s3://{bucket}", "storage_options": s3_moto.storage_options}
    (timing,) = bench_feeding(**settings, images=["gray-png"]).timings
    assert (timing.pairs, timing.steps) == (10, 10)
    assert s3_moto.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("ahead", [0, 3])
def test_threads_and_windows_change_no_row(
    ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "in", 40)
    _first_file(tmp_path / "in").write_bytes(b"no image")

    def rows(name: str) -> list[dict[str, Any]]:
        options = RunOptions(
            source=str(tmp_path / "in"), out=str(tmp_path / name), method="average", shard_size=20
        )
        run = PlannedRun(plan_fusing(options, SilentProgress()), SilentProgress())
        config = WorkerConfig(run.record, options.store(options.out), run.payload, "cuda")
        processor = ShardProcessor(config, computer=SleepingComputer(1e-4, run.record.metrics))
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda shard: processor.process(ShardTask(shard)), range(2)))
        return stable(read_rows(options.out))

    usual = rows("usual")
    monkeypatch.setitem(loading.WINDOWS_AHEAD, "cuda", ahead)
    monkeypatch.setitem(loading._READ_THREADS, "cuda", 1)
    monkeypatch.setitem(stages._CODEC_THREADS, "cuda", 1 + ahead)
    assert rows("other") == usual
    assert [row["status"] for row in usual].count("failed") == 1
