"""Notices when the Ray to which this process is connected is gone.

Ray itself waits for up to a minute, in calls that nothing interrupts, and then ends the process.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import ray

from fusion_core.errors import RunFailedError

T = TypeVar("T")

_CHECK_EVERY_S = 1.0
_CONNECT_TIMEOUT_S = 2.0
_PATIENCE_S = 3.0
_HEAD_PATIENCE_S = 20.0
"""Patience with the head of a cluster, which may be restarted."""
_HEAD_PATIENCE_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
_LONGEST_ANSWER_S = 60.0
_REMEDY = "what is committed is kept; run the same command again to resume"


@dataclass(slots=True)
class _Endpoint:
    """A process of Ray on which this process depends."""

    name: str
    host: str
    port: int
    patience_s: float
    seen_at: float

    def lost(self) -> bool:
        """Whether nothing has answered for longer than the patience; a paused process answers."""
        try:
            socket.create_connection((self.host, self.port), _CONNECT_TIMEOUT_S).close()
        except OSError:
            return time.monotonic() - self.seen_at > self.patience_s
        self.seen_at = time.monotonic()
        return False


@dataclass(slots=True)
class _State:
    """What is known about the connected Ray."""

    lost: str | None = None
    """How it was lost."""
    own: bool = False
    """Whether this process has started it."""


_STATE = _State()


def check_connection() -> None:
    """Check that the connected Ray is still there.

    Raises:
        RunFailedError: It is gone.
    """
    if _STATE.lost is not None:
        raise RunFailedError(_STATE.lost)


def started_here() -> bool:
    """Whether irfuse has started the connected Ray, which never has other nodes than this one."""
    return _STATE.own


def ask_ray(question: Callable[[], T]) -> T:
    """Call a function that asks Ray about its state, and that may never return.

    Raises:
        RunFailedError: Ray is gone, or does not answer.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(question())
        except Exception as error:  # noqa: BLE001 - raised again in the calling thread
            errors.append(error)

    thread = threading.Thread(target=ask, name="irfuse-question", daemon=True)
    thread.start()
    deadline = time.monotonic() + _LONGEST_ANSWER_S
    while thread.is_alive():
        thread.join(_CHECK_EVERY_S)
        check_connection()
        if thread.is_alive() and time.monotonic() > deadline:
            raise RunFailedError(f"Ray has not answered for {_LONGEST_ANSWER_S:.0f} s; {_REMEDY}")
    if errors:
        raise errors[0]
    return answers[0]


@contextmanager
def watched(*, own: bool) -> Iterator[None]:
    """Watch the connected Ray for the duration of the block.

    Args:
        own: Whether this process has started it; its head is then never restarted.
    """
    endpoints = _endpoints(own=own)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_CHECK_EVERY_S):
            for endpoint in endpoints:
                if endpoint.lost() and not ended.is_set():
                    _STATE.lost = f"{endpoint.name} has ended or cannot be reached; {_REMEDY}"
                    return

    thread = threading.Thread(target=watch, name="irfuse-watch", daemon=True)
    thread.start()
    before, _STATE.own = _STATE.own, own or _STATE.own
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _STATE.lost, _STATE.own = None, before


def _endpoints(*, own: bool) -> list[_Endpoint]:
    context, now = ray.get_runtime_context(), time.monotonic()
    host, _, port = context.gcs_address.rpartition(":")
    patience_s = _PATIENCE_S
    if not own:
        given = float(os.environ.get(_HEAD_PATIENCE_VARIABLE) or 0.0)
        patience_s = max(_HEAD_PATIENCE_S, given - 2 * _PATIENCE_S)
    head = _Endpoint("The head of Ray (gcs_server)", host.strip("[]"), int(port), patience_s, now)
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    address, port = node["NodeManagerAddress"], node["NodeManagerPort"]
    return [head, _Endpoint("The node of Ray (raylet)", address, int(port), _PATIENCE_S, now)]
