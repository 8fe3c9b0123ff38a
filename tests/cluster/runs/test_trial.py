"""The start of the workers of a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.runs import trial
from fusion_core.compiled.announcing import COMPILING_ONCE

LOADING = "Loading the method"


@dataclass(eq=False)
class FalseWorker:
    """A worker that does one thing after another in seconds of a false clock."""

    activities: list[str]
    activity: str = ""
    info: object | None = None


@dataclass
class FalsePool:
    """A pool whose only worker is ready when it has done everything."""

    worker: FalseWorker
    now: float = 100.0
    told: list[str] = field(default_factory=list)

    @property
    def workers(self) -> list[FalseWorker]:
        return [self.worker]

    def spawn(self, jobs: int) -> None:
        pass

    def ready(self) -> list[FalseWorker]:
        return [self.worker] if self.worker.info else []

    def describe_starting(self) -> str:
        return self.worker.activity

    def advance(self, _: Any, worker: FalseWorker) -> None:
        self.now += 1.0
        if worker.activities:
            worker.activity = worker.activities.pop(0)
        else:
            worker.info = object()


@pytest.mark.parametrize(
    ("activities", "seconds"),
    [
        ([LOADING, LOADING], 0.0),
        ([LOADING, COMPILING_ONCE, COMPILING_ONCE, COMPILING_ONCE], 3.0),
    ],
)
def test_the_time_of_a_compilation_is_known_that_other_workers_need_not_repeat(
    activities: list[str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = FalsePool(FalseWorker(activities))
    monkeypatch.setattr(trial, "_advance", pool.advance)
    monkeypatch.setattr(trial, "check_connection", lambda: None)
    monkeypatch.setattr("cluster.runs.trial.time.monotonic", lambda: pool.now)
    workers, kernels_s = trial._ready_workers(pool, 1, pool.told.append)
    assert (workers, kernels_s) == ([pool.worker], seconds)
    assert COMPILING_ONCE not in pool.told or seconds
