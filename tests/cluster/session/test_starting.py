"""The description of workers that are not ready yet."""

from __future__ import annotations

import time

import pytest

from cluster.session import starting
from cluster.session.starting import ActivityReport, Starting


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Free and total resources of the cluster; asking counts in `asked`."""
    found: dict[str, tuple[int, int]] = {"CPU": (2, 2), "GPU": (0, 0), "asked": (0, 0)}

    def free_and_total(kind: str) -> tuple[int, int]:
        found["asked"] = found["asked"][0] + 1, 0
        return found[kind]

    monkeypatch.setattr(starting, "free_and_total", free_and_total)
    return found


def workers(*activities: str, seconds: float = 0.0) -> list[Starting]:
    since = time.monotonic() - seconds
    return [Starting(since, activity) for activity in activities]


def test_workers_that_are_all_ready_need_no_description() -> None:
    assert ActivityReport(use_gpu=False).describe([]) == ""


def test_most_workers_activity_is_described(resources: dict[str, tuple[int, int]]) -> None:
    found = workers("Loading the method", "Compiling kernels", "Loading the method", "")
    report = ActivityReport(use_gpu=False).describe(found)
    assert report == "Loading the method on 2 workers"
    assert resources["asked"] == (0, 0)


def test_new_workers_are_starting(resources: dict[str, tuple[int, int]]) -> None:
    assert ActivityReport(use_gpu=True).describe(workers("")) == "Starting 1 worker"


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (0, 0, "Waiting for a GPU (the cluster has none)"),
        (0, 4, "Starting workers (0 of 4 GPUs are free)"),
        (3, 4, "Starting 2 workers"),
    ],
)
def test_what_silent_workers_may_wait_for_is_named(
    resources: dict[str, tuple[int, int]], free: int, total: int, expected: str
) -> None:
    resources["GPU"] = free, total
    report = ActivityReport(use_gpu=True)
    for _ in range(3):
        assert report.describe(workers("", "", seconds=10.0)) == expected
    assert resources["asked"] == (1, 0)
