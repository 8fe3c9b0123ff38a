"""A Ray that is gone is noticed, also in calls that never return."""

import socket
import threading
import time

import pytest
from support.processes import wait_until

from cluster.session import watch
from cluster.session.watch import ask_ray, check_connection, watched
from fusion_core.errors import RunFailedError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A server in place of the processes of Ray."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def endpoints(*, own: bool) -> list[watch._Endpoint]:
        return [watch._Endpoint("The head of Ray", "127.0.0.1", port, 0.2, time.monotonic())]

    monkeypatch.setattr(watch, "_endpoints", endpoints)
    monkeypatch.setattr(watch, "_CHECK_EVERY_S", 0.05)
    return server


def is_lost() -> bool:
    try:
        check_connection()
    except RunFailedError:
        return True
    return False


def test_a_process_that_is_gone_is_named_with_the_remedy(server: socket.socket) -> None:
    with watched(own=True):
        check_connection()
        server.close()
        wait_until(is_lost, timeout=20, what="the loss to be noticed")
        with pytest.raises(RunFailedError, match=r"The head of Ray has ended .* run the same"):
            check_connection()
    check_connection()


def test_a_process_that_is_paused_is_not_lost(server: socket.socket) -> None:
    with server, watched(own=True):
        time.sleep(1.0)  # nobody accepts the connections
        check_connection()


def test_a_question_that_is_never_answered_ends_when_ray_is_gone(server: socket.socket) -> None:
    with watched(own=True):
        server.close()
        with pytest.raises(RunFailedError, match="The head of Ray has ended"):
            ask_ray(threading.Event().wait)


def test_a_question_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_LONGEST_ANSWER_S", 0.1)
    monkeypatch.setattr(watch, "_CHECK_EVERY_S", 0.05)
    with pytest.raises(RunFailedError, match="Ray has not answered"):
        ask_ray(threading.Event().wait)


def test_answers_and_errors_are_passed_on() -> None:
    assert ask_ray(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        ask_ray(lambda: 1 // 0)
