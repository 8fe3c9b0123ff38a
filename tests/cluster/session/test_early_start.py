"""A local Ray that starts before it is needed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from cluster.session import ClusterOptions, connection, early_start, end_sessions, ray_session
from fusion_core.errors import RunFailedError

LOCAL = ClusterOptions(address="local", workers=1)


class Machine:
    """Stands for the local Rays: notes what happens to them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.started = 0
        self.error: Exception | None = None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Replaces what starts Ray and connects to it."""
    noted = Machine()

    class FakeRay:
        def __init__(self, settings: Mapping[str, object], variables: Mapping[str, str]) -> None:
            noted.started += 1
            self.number = noted.started
            noted.events.append(f"start {self.number}")

        def address(self) -> str:
            if noted.error:
                raise noted.error
            return str(self.number)

        @contextmanager
        def environment(self) -> Iterator[None]:
            yield

        def release(self) -> None:
            noted.events.append(f"release {self.number}")

        def end(self) -> None:
            noted.events.append(f"end {self.number}")

    @contextmanager
    def connected(address: str, *, own: bool) -> Iterator[str]:
        assert own
        noted.events.append(f"connect {address}")
        yield address
        noted.events.append(f"disconnect {address}")

    monkeypatch.setattr(connection, "LocalRay", FakeRay)
    monkeypatch.setattr(connection, "_connected", connected)
    monkeypatch.setattr(connection, "_check_own", lambda options: None)
    return noted


def test_a_session_takes_the_ray_that_starts_already(machine: Machine) -> None:
    with early_start(LOCAL, needed=lambda: True):
        machine.events.append("plan")
        with ray_session(LOCAL):
            machine.events.append("compute")
        machine.events.append("summarize")
    assert machine.events == [
        "start 1", "plan", "connect 1", "compute", "disconnect 1", "release 1", "summarize", "end 1"
    ]  # fmt: skip


def test_a_second_session_starts_another_ray_after_the_end_of_the_first(machine: Machine) -> None:
    with early_start(LOCAL, needed=lambda: True):
        for _ in range(2):
            with ray_session(LOCAL):
                pass
    assert machine.started == 2
    assert machine.events.index("end 1") < machine.events.index("start 2")
    assert machine.events[-1] == "end 2"


def test_no_ray_starts_early_if_it_may_not_be_needed(machine: Machine) -> None:
    with early_start(LOCAL, needed=lambda: False):
        assert machine.events == []
        with ray_session(LOCAL):
            pass
    assert machine.events[0] == "start 1"


def test_no_ray_starts_on_this_machine_if_a_cluster_is_named(machine: Machine) -> None:
    with early_start(ClusterOptions(address="192.0.2.1:6379"), needed=lambda: True):
        pass
    assert machine.events == []


def test_a_ray_that_no_session_takes_ends_with_the_block(machine: Machine) -> None:
    with early_start(LOCAL, needed=lambda: True):
        pass
    assert machine.events == ["start 1", "release 1", "end 1"]


def test_an_error_in_the_block_is_raised_before_ray_has_stopped(machine: Machine) -> None:
    with pytest.raises(ValueError, match="no such method"), early_start(LOCAL, lambda: True):
        raise ValueError("no such method")
    assert machine.events == ["start 1", "release 1"]
    end_sessions()
    assert machine.events == ["start 1", "release 1", "end 1"]


def test_a_start_that_fails_is_an_error_of_the_session(machine: Machine) -> None:
    machine.error = RunFailedError("Ray cannot be started on this machine")
    failed = pytest.raises(RunFailedError, match="cannot be started")
    with failed, early_start(LOCAL, lambda: True), ray_session(LOCAL):
        pytest.fail("the session has not begun")
    end_sessions()
    assert machine.events == ["start 1", "release 1", "end 1"]
