"""Studies that are computed on Ray: cells, resuming, failing methods, kills."""

import re
import signal
from pathlib import Path

import pytest
from support.cli import run_cli, start_cli
from support.collections import SMALL, read_rows, stable, write_pairs
from support.processes import wait_until

import irfuse
from cluster.storage.store import Store
from jobs.study.options import StudyRunOptions
from jobs.study.run import run_study

FILE = """
[collections]
pairs = "in"
[methods.mean]
method = "average"
[methods.missing]
method = "densefuse"
weights = "no/such/file.safetensors"
[methods.copy]
fused = "in/vis"
[metrics]
names = ["EN", "SD", "Qabf"]
[report]
pictures = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_pairs(folder / "in", SMALL)
    (folder / "study.toml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path, ray_address: str) -> irfuse.StudyResult:
    return run_study(_options(folder, ray_address))


def _options(folder: Path, address: str) -> StudyRunOptions:
    return StudyRunOptions(
        sources=(f"{folder}/study.toml",), out=f"{folder}/out", address=address, workers=1
    )


def test_a_method_that_cannot_be_computed_does_not_stop_the_others(
    result: irfuse.StudyResult,
) -> None:
    states = {cell.label: (cell.state, cell.ok) for cell in result.cells}
    assert states == {"mean": ("done", 6), "missing": ("not run", 0), "copy": ("done", 6)}
    (problem,) = (cell.problem for cell in result.cells if cell.label == "missing")
    assert "There is no weight file at" in problem
    assert result.report is not None
    assert {each.label for each in result.report.ranking} == {"mean", "copy"}


def test_a_cell_has_the_rows_of_a_run(
    folder: Path, result: irfuse.StudyResult, ray_address: str
) -> None:
    alone = irfuse.RunOptions(
        source=f"{folder}/in", out=f"{folder}/alone", method="average", name="mean",
        collection="pairs", metrics=("EN", "SD", "Qabf"), address=ray_address, workers=1,
    )  # fmt: skip
    irfuse.run(alone)
    assert stable(read_rows(folder / "out/runs/pairs/mean")) == stable(read_rows(folder / "alone"))


def test_pictures_show_sources_and_methods(folder: Path, result: irfuse.StudyResult) -> None:
    page = (folder / "out/report.html").read_text()
    for what in ("infrared", "visible", "mean", "copy"):
        assert len(re.findall(rf'aria-label="Enlarge {what} of pair', page)) == 2, what
    assert "data:image/webp;base64," in page


def test_a_finished_study_needs_no_ray(folder: Path, result: irfuse.StudyResult) -> None:
    for name in ("mean", "copy"):
        options = _options(folder, "127.0.0.1:1").model_copy(update={"only": (name,)})
        assert run_study(options).report == result.report


def test_the_command_ends_with_status_1_and_the_reasons(
    folder: Path, result: irfuse.StudyResult, ray_address: str
) -> None:
    ended = run_cli(
        "study", "run", folder / "study.toml", "--out", folder / "out", "--address", ray_address
    )
    assert ended.returncode == 1
    assert re.search(r"mean +✓ 6/6", ended.stdout)
    assert "1 cell could not be computed: missing on pairs: There is no weight file" in ended.stderr


@pytest.mark.slow
def test_a_killed_study_gives_the_same_bytes(
    folder: Path, result: irfuse.StudyResult, ray_address: str
) -> None:
    out = folder / "killed"
    command = [
        "study", "run", str(folder / "study.toml"), "--out", str(out), "--address", ray_address,
        "--workers", "1",
    ]  # fmt: skip
    for number in (1, 2):  # within the first and the last cell
        name = ("mean", "copy")[number - 1]
        with start_cli(*command) as running:
            wait_until(
                lambda name=name: any((out / f"runs/pairs/{name}").glob("shards/*")),
                timeout=120,
                what="a shard",
            )
            running.send_signal(signal.SIGKILL)
    assert run_cli(*command).returncode == 1  # one method is missing
    for path in sorted((folder / "out/statistics").iterdir()):
        assert (out / "statistics" / path.name).read_bytes() == path.read_bytes(), path.name
    assert (out / "scores.parquet").read_bytes() == (folder / "out/scores.parquet").read_bytes()


@pytest.mark.slow
def test_an_image_that_crashes_workers_fails_in_its_own_cell_alone(
    tmp_path: Path, ray_address: str
) -> None:
    source = write_pairs(tmp_path / "in", SMALL)
    for label in ("first", "second"):
        images = Store(str(tmp_path / label))
        for number in range(SMALL):
            images.write(f"{number:04d}.png", source.read(f"vis/{number:04d}.png"))
    poisoned = images.read("0001.png") + b"irfuse-test-segfault"
    images.write("0001.png", poisoned)
    result = run_study(
        StudyRunOptions(
            sources=(f"{tmp_path}/in",),
            fused=f"first={tmp_path}/first second={tmp_path}/second".split(),
            metrics="EN,Qabf",
            out=f"{tmp_path}/out",
            address=ray_address,
            workers=1,
        )
    )
    assert [(cell.label, cell.ok, cell.failed) for cell in result.cells] == [
        ("first", SMALL, 0),
        ("second", SMALL - 1, 1),
    ]
    (failure,) = result.cells[1].failures
    assert (failure.pair_id, failure.stage) == ("0001", "crash")
