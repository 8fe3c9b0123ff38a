"""Dry runs of studies: the problems and the estimates of all cells, and nothing that is written."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from support.collections import SMALL, write_pairs
from support.environment import forbid_ray

import irfuse
import jobs.dry_run
import jobs.study.dry_run
from fusion_core.errors import InvalidValueError, RunFailedError
from jobs.console.studies import print_study_dry_run
from jobs.study.dry_run import StudyDryRun, dry_run_study
from jobs.study.options import StudyRunOptions

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
names = ["EN", "SD"]
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> StudyRunOptions:
    folder = tmp_path_factory.mktemp("studies")
    write_pairs(folder / "in", SMALL)
    (folder / "study.toml").write_text(FILE)
    return StudyRunOptions(
        sources=(f"{folder}/study.toml",), out=f"{folder}/out", workers=1, dry_run=True,
        dry_run_pairs=2, price_per_hour=2.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tried(options: StudyRunOptions, ray_address: str) -> StudyDryRun:
    return dry_run_study(options.model_copy(update={"address": ray_address}))


def test_cells_are_estimated_together_and_nothing_is_written(
    tried: StudyDryRun, options: StudyRunOptions
) -> None:
    mean, missing, copy = tried.tried
    assert [cell.label for cell in tried.tried] == ["mean", "missing", "copy"]
    assert (missing.run.rows, missing.run.estimate) == (SMALL, None)
    (problem,) = missing.run.problems
    assert "There is no weight file at" in problem
    assert mean.run.estimate is not None
    assert copy.run.estimate is not None
    assert tried.estimate is not None
    assert tried.estimate.seconds == mean.run.estimate.seconds + copy.run.estimate.seconds
    assert tried.estimate.price == pytest.approx(2.0 * tried.estimate.core_hours)
    assert not Path(options.out).exists()


def test_a_cluster_that_does_not_answer_is_asked_once(
    options: StudyRunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def unreachable(*_: object) -> Iterator[None]:
        asked.append(1)
        raise RunFailedError("No cluster answers")
        yield

    for module in (jobs.dry_run, jobs.study.dry_run):
        monkeypatch.setattr(module, "ray_session", unreachable)
    tried = dry_run_study(options)
    assert len(asked) == 1
    assert [cell.run.problems[-1] for cell in tried.tried if cell.label != "missing"] == [
        "No cluster answers"
    ] * 2


def test_the_command_prints_every_cell_and_ends_with_the_problems(
    tried: StudyDryRun, options: StudyRunOptions
) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    with pytest.raises(RunFailedError, match="1 cell cannot be computed; the others would be"):
        print_study_dry_run(console, tried, options)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "A run would compute 3 cells." in text
    assert "Problem     missing on pairs: There is no weight file at" in text
    assert text.endswith("Nothing was written.\n")
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= 80


def test_a_study_refuses_options_of_a_dry_run(
    options: StudyRunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch, "jobs.study.run")
    with pytest.raises(InvalidValueError, match=r"irfuse\.dry_run_study"):
        irfuse.run_study(options)
    assert not Path(options.out).exists()
