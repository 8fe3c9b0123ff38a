"""The progress of a command: what is shown while it waits, and how often."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cluster.runs import Snapshot
from jobs.console import progress
from jobs.console.progress import BarProgress, PlainProgress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def snapshot(rows: int = 0, *, workers: int = 0, activity: str = "") -> Snapshot:
    return Snapshot(
        rows=rows, failed=0, workers=workers, waiting=2 - workers, deaths=0, activity=activity
    )


def test_an_activity_is_one_line_and_another_one_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = PlainProgress()
    for clock.now in range(100, 125):
        shown.message("Starting Ray")
    assert capsys.readouterr().err.splitlines() == [
        "Starting Ray", "Starting Ray (10 s)", "Starting Ray (20 s)",
    ]  # fmt: skip


def test_until_workers_are_ready_their_activity_is_shown_instead_of_counts(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = PlainProgress()
    shown.planned(12, 12, 0, 3)
    for clock.now in range(100, 115):
        shown.update(snapshot(activity="Loading the method on 2 workers"))
    for clock.now in range(115, 130):
        shown.update(snapshot(4, workers=2))
    assert capsys.readouterr().err.splitlines() == [
        "12 pairs in 3 shards",
        "Loading the method on 2 workers",
        "Loading the method on 2 workers (10 s)",
        "4/12 pairs, 0 failed, 0.0 pairs/s, 2 workers",
    ]


@pytest.mark.parametrize("width", [40, 100])
def test_the_bar_shows_the_activity_with_its_time(clock: Clock, width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    bar = BarProgress(console)
    with bar.shown():
        bar.update(snapshot(activity="Compiling kernels"))
        clock.now += 7
        bar._bar.refresh()
    assert "Compiling kernels (7 s)" in output.getvalue()


def test_the_bar_counts_pairs_once_a_worker_is_ready(clock: Clock) -> None:
    output = io.StringIO()
    bar = BarProgress(Console(file=output, force_terminal=True, width=100, color_system=None))
    with bar.shown():
        bar.update(snapshot(activity="Compiling kernels"))
        bar.planned(12, 12, 0, 3)
        bar.update(snapshot(4, workers=1, activity="Loading the method on 1 worker"))
        bar._bar.refresh()
    last = next(line for line in reversed(output.getvalue().splitlines()) if "/12" in line)
    assert "Compiling" not in last.rpartition("\x1b[2K")[2]
    assert "4/12" in last
