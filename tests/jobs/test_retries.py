"""Pairs that fail, and retries, on a real Ray cluster of two nodes."""

import shutil
from pathlib import Path

import pytest
from support.collections import (
    FinishedRun,
    read_rows,
    run_options,
    write_pairs,
)

import irfuse
from cluster.storage.store import Store
from fusion_core.errors import (
    RunFailedError,
)


@pytest.fixture(scope="module")
def mended(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run in which one of six pairs failed; its image is whole by now."""
    folder = tmp_path_factory.mktemp("mended")
    store = write_pairs(folder / "in", 6)
    picture = store.read("vis/0005.png")
    store.write("vis/0005.png", b"")
    wanted = run_options(store.url, folder / "out", address=ray_address, max_failure_rate=0.5)
    assert irfuse.run(wanted).failed == 1
    store.write("vis/0005.png", picture)
    return FinishedRun(folder / "in", folder / "out")


def test_failed_rows_can_be_retried_alone(
    mended: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(mended.out, out)
    wanted = run_options(mended.source, out, address=ray_address, max_failure_rate=0.5)
    before = read_rows(out)
    assert irfuse.run(wanted).computed == 0
    result = irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    after = read_rows(out)
    assert (result.failed, result.computed) == (0, 1)
    assert [b for b, a in zip(before, after, strict=True) if b != a] == [before[5]]
    assert (after[5]["status"], after[5]["attempt"]) == ("ok", 2)


@pytest.mark.slow
def test_an_old_summary_does_not_outlive_an_interrupted_retry(
    mended: FinishedRun, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mended.out, tmp_path / "out")
    wanted = run_options(mended.source, tmp_path / "out", address=ray_address, max_failure_rate=0.5)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jobs.summarize.summarize_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    assert irfuse.run(wanted).failed == 0


def write_broken_pairs(folder: Path, count: int) -> Path:
    """Write a manifest of so many pairs whose visible image is no image."""
    store = write_pairs(folder, 1)
    store.write("vis/0000.png", b"")
    line = f"{store.path('ir/0000.png')},{store.path('vis/0000.png')}"
    manifest = folder / "list.csv"
    lines = [f"{number:04d},{line}" for number in range(count)]
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines]))
    return manifest


@pytest.mark.slow
def test_a_retry_goes_on_although_all_that_is_left_fails_again(
    ray_address: str, tmp_path: Path
) -> None:
    source = write_broken_pairs(tmp_path, 240)
    wanted = run_options(
        source, tmp_path / "out", address=ray_address, shard_size=60, max_failure_rate=1.0
    )
    irfuse.run(wanted)
    again = wanted.model_copy(update={"retry_failed": True, "max_failure_rate": 0.1})
    with pytest.raises(RunFailedError, match=r"240 of 240 pairs failed"):
        irfuse.run(again)
    assert {row["attempt"] for row in read_rows(tmp_path / "out")} == {2}


def test_too_many_failures_are_an_error_but_everything_is_committed(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 9)
    for number in (1, 4):
        store.write(f"ir/{number:04d}.png", b"<html>")
    wanted = run_options(tmp_path / "in", tmp_path / "out", address=ray_address)
    with pytest.raises(RunFailedError, match=r"2 of 9 pairs failed \(2 at decode\).*10%"):
        irfuse.run(wanted)
    assert [row["status"] for row in read_rows(tmp_path / "out")].count("ok") == 7
    lenient = wanted.model_copy(update={"max_failure_rate": 0.5})
    assert irfuse.run(lenient).failed == 2


def test_a_run_that_fails_wholesale_stops_early(ray_address: str, tmp_path: Path) -> None:
    source = write_broken_pairs(tmp_path, 400)
    with pytest.raises(RunFailedError, match=r"Stopped: .* at decode"):
        irfuse.run(run_options(source, tmp_path / "out", address=ray_address, shard_size=20))
    assert len(Store(str(tmp_path / "out")).entries("shards")) < 20
