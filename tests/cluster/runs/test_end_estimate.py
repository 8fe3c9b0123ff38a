"""The estimate that a run makes of its own time."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.runs import end_estimate
from cluster.runs.end_estimate import EndEstimate
from cluster.runs.events import LOGGER, Event
from cluster.runs.messages import ShardReport
from cluster.runs.metering import Usage, WorkDone
from cluster.runs.snapshot import Snapshot

TODO = 400


@dataclass
class Runner:
    """A run whose time is set by hand, and the events that it logs."""

    now: float = 100.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found = EndEstimate("ab-out", TODO)

    def progress(self, seconds: int, rate: float, workers: int = 2, start: float = 0.0) -> None:
        """Compute for some seconds; the counts arrive every other second."""
        began = self.now
        for step in range(seconds + 1):
            self.now = began + step
            rows = int(start + rate * (step // 2 * 2))
            self.found.progressed(Snapshot(rows, 0, workers, 0, 0))

    def commit(self, rows: int, run: int = 0) -> None:
        """Commit a shard."""
        worker: Any = None
        self.found.committed(worker, ShardReport(0, rows, {}, rows, run, WorkDone(Usage(), 0)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    runner = Runner()
    handler = logging.Handler()
    handler.emit = lambda record: runner.events.append(record.event)  # type: ignore
    monkeypatch.setattr(end_estimate.time, "monotonic", lambda: runner.now)
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)  # which also forgets what the logger knows of its level
    LOGGER.addHandler(handler)
    runner.found = EndEstimate("ab-out", TODO)
    yield runner
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(level)


def test_the_rest_takes_as_long_per_pair_as_the_first_pairs(run: Runner) -> None:
    run.now += 30.0  # Ray and the workers start
    run.progress(60, rate=2.0)
    (event,) = run.events
    assert (event.event, event.run, event.rows) == ("run.estimate", "ab-out", TODO)
    assert run.found.estimated_seconds == event.seconds == pytest.approx(30.0 + TODO / 2.0)


def test_the_speed_is_measured_again_when_a_worker_comes_or_dies(run: Runner) -> None:
    run.progress(18, rate=1.0, workers=1)
    run.progress(18, rate=2.0, workers=2, start=18.0)
    run.progress(60, rate=1.0, workers=1, start=40.0)  # some uncommitted pairs are lost
    assert len(run.events) == 1
    assert run.found.estimated_seconds == pytest.approx(36.0 + TODO - 40.0)


def test_runs_that_are_computed_together_end_together(run: Runner) -> None:
    run.found.begin(2 * TODO)
    run.progress(60, rate=2.0)
    (event,) = run.events
    assert (event.rows, event.seconds) == (TODO, pytest.approx(TODO))


@pytest.mark.parametrize(("seconds", "rate"), [(18, 2.0), (60, 0.1)])
def test_a_few_pairs_are_not_enough(run: Runner, seconds: int, rate: float) -> None:
    run.progress(seconds, rate)
    assert (run.events, run.found.estimated_seconds) == ([], None)


def test_damaged_shards_that_are_computed_again_are_not_estimated(run: Runner) -> None:
    run.commit(TODO)
    run.found.begin(TODO)
    run.progress(60, rate=2.0)
    assert run.events == []


def test_the_time_is_that_of_the_last_commit_of_the_run_itself(run: Runner) -> None:
    for rows, number in ((300, 0), (100, 0), (100, 1)):
        run.now += 50.0
        run.commit(rows, number)
    assert run.found.seconds == 100.0
