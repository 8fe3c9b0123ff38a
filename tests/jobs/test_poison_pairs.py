"""Pairs that kill, hang or starve the worker that decodes them, each found and set aside."""

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.cli import call_cli, run_cli
from support.collections import (
    FinishedRun,
    read_rows,
    run_command,
    run_options,
    stable,
    write_pairs,
)
from support.environment import POISON

import irfuse
from cluster.runs.snapshot import Snapshot
from cluster.storage.store import Store
from jobs.progress import SilentProgress

PAIRS = 18
WAIT_S = 280.0
SPARE_BYTES = 4 * 1024**3
"""For Ray, the driver and a worker, which take about half of it, and whatever else is running."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_pairs(tmp_path_factory.mktemp("collection") / "in", PAIRS)


@pytest.fixture(scope="module")
def undisturbed(
    collection: Store, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The rows of a run of healthy pairs."""
    out = tmp_path_factory.mktemp("undisturbed")
    result = call_cli(*command(collection, out), "--address", ray_address, "--workers", "1")
    assert result.returncode == 0, result.stderr
    return stable(read_rows(out))


@pytest.fixture
def poisoned(collection: Store, tmp_path: Path) -> Store:
    """A copy of the collection, to poison."""
    copy = Store(str(tmp_path / "in"))
    for entry in collection.entries():
        copy.write(entry.key, collection.read(entry.key))
    return copy


class Deaths(SilentProgress):
    """Notes how many workers have died."""

    count = 0

    def update(self, snapshot: Snapshot) -> None:
        self.count = snapshot.deaths


def command(collection: Store, out: Path) -> list[str]:
    options = ["--weights", "random:0", "--shard-size", "6", "--max-failure-rate", "1"]
    return ["run", collection.url, "--out", str(out), *options]


def poison(store: Store, number: int, mark: bytes) -> None:
    key = f"ir/{number:04d}.png"
    store.write(key, store.read(key) + b"irfuse-test-" + mark)


def failed_rows(
    out: Path, collection: Store, copy: Store, undisturbed: list[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return the failed rows by number; all others are as if there were no poison."""
    rows = stable(read_rows(out))
    assert len(rows) == len(undisturbed)
    failed = {n: row for n, row in enumerate(rows) if row["status"] == "failed"}
    for number, (row, expected) in enumerate(zip(rows, undisturbed, strict=True)):
        moved = {k: expected[k].replace(collection.url, copy.url) for k in ("ir_uri", "vis_uri")}
        assert number in failed or row == expected | moved
    return failed


def test_a_pair_that_crashes_its_worker_is_isolated(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    collection, copy = Store(str(small.source)), Store(str(tmp_path / "in"))
    shutil.copytree(small.source, tmp_path / "in")
    poison(copy, 4, b"segfault")
    arguments = run_command(copy.url, tmp_path / "out", ray_address, "--max-failure-rate", 1)
    result = call_cli(*arguments)
    assert result.returncode == 0, result.stderr
    failed = failed_rows(tmp_path / "out", collection, copy, stable(read_rows(small.out)))
    assert {number: row["error_stage"] for number, row in failed.items()} == {4: "crash"}
    assert "worker died while it computed this pair" in failed[4]["error_message"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killer_pairs_in_a_row_do_not_end_the_run(
    collection: Store,
    poisoned: Store,
    undisturbed: list[dict[str, Any]],
    ray_address: str,
    tmp_path: Path,
) -> None:
    killers = range(PAIRS - 6, PAIRS)  # a whole shard, the last that is left
    for number in killers:
        poison(poisoned, number, b"kill")
    arguments = command(poisoned, tmp_path / "out")
    result = call_cli(*arguments, "--address", ray_address, "--workers", "1")
    assert result.returncode == 0, result.stderr
    failed = failed_rows(tmp_path / "out", collection, poisoned, undisturbed)
    assert {n: row["error_stage"] for n, row in failed.items()} == dict.fromkeys(killers, "crash")


@pytest.mark.slow
def test_pairs_that_fit_into_memory_one_at_a_time_are_not_blamed(
    collection: Store,
    poisoned: Store,
    undisturbed: list[dict[str, Any]],
    ray_address: str,
    tmp_path: Path,
) -> None:
    for number in range(PAIRS):
        poison(poisoned, number, b"crowd")
    deaths = Deaths()
    out = tmp_path / "out"
    irfuse.run(run_options(poisoned.url, out, address=ray_address, workers=4, shard_size=3), deaths)
    assert not failed_rows(out, collection, poisoned, undisturbed)
    assert deaths.count > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pairs_that_kill_or_hang_their_worker_are_isolated(
    collection: Store, poisoned: Store, undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    marks = {3: b"refuse", 7: b"segfault", 9: b"kill", 15: b"hang"}
    for number, mark in marks.items():
        poison(poisoned, number, mark)
    result = run_cli(
        *command(poisoned, tmp_path / "out"), "--pair-timeout", "8",
        env={"PYTHONPATH": str(POISON)}, timeout=WAIT_S,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "raylet" not in result.stdout
    failed = failed_rows(tmp_path / "out", collection, poisoned, undisturbed)
    assert {number: row["error_stage"] for number, row in failed.items()} == {
        3: "decode", 7: "crash", 9: "crash", 15: "crash",
    }  # fmt: skip
    assert failed[3]["error_message"] == "Not enough memory for this pair: cannot allocate 64 GiB"
    for number in (7, 9):
        assert "worker died while it computed this pair" in failed[number]["error_message"]
    assert "no progress for 8 s" in failed[15]["error_message"]


@pytest.mark.slow
def test_a_pair_that_exhausts_memory_is_told_so_and_costs_no_other(
    collection: Store, poisoned: Store, undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    poison(poisoned, 8, b"exhaust")
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + SPARE_BYTES) / memory.total
    if memory.available < 2 * SPARE_BYTES:
        pytest.skip("this machine has too little memory left to have it exhausted")
    environment = {
        "PYTHONPATH": str(POISON),
        "RAY_memory_usage_threshold": f"{limit:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    result = run_cli(
        *command(poisoned, tmp_path / "out"), "--workers", "1", env=environment, timeout=WAIT_S
    )
    assert result.returncode == 0, result.stderr
    failed = failed_rows(tmp_path / "out", collection, poisoned, undisturbed)
    assert {number: row["error_stage"] for number, row in failed.items()} == {8: "crash"}
    assert "running low on memory" in failed[8]["error_message"]
