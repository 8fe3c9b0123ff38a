"""Calls of a function of irfuse on the workers of the connected cluster, in any order."""

from __future__ import annotations

import functools
import importlib
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError

from cluster.session.connection import ClusterOptions
from cluster.session.remote import remote_function
from cluster.session.resources import WorkerResources, describe_resources, node_resources
from cluster.session.software import Software, installed_software
from cluster.session.starting import ActivityReport, Starting
from cluster.session.watch import check_connection
from cluster.storage import redact_text
from fusion_core.errors import IrfuseError, RunFailedError

_POLL_S = 0.5
_RETRIES = 3
"""Number of times that a call is repeated whose worker or node was lost."""


def run_tasks(
    function: tuple[str, str],
    shared: object,
    tasks: Iterable[Any],
    options: ClusterOptions,
    *,
    on_results: Callable[[list[Any]], None],
    on_waiting: Callable[[str], None],
) -> None:
    """Call a function for each of several tasks until all have returned.

    A call may be repeated, and must leave the same results then.

    Args:
        function: Module and name of the function, which takes `shared` and a task.
        shared: What all calls need, which is sent once to each node.
        tasks: What each call needs besides; small.
        options: The cluster and the resources to use.
        on_results: Called about twice per second with the results since, if there are any.
        on_waiting: Called about twice per second until the first worker is ready, with what it
            waits for.

    Raises:
        RunFailedError: No worker could be placed within the time limit, or workers keep dying.
        RunConflictError: A node has other software than this process.
        IrfuseError: The function has raised it.
    """
    perform = ray.remote(
        num_cpus=1,
        max_retries=_RETRIES,
        scheduling_strategy="SPREAD",
        runtime_env=dict(options.runtime_env),
    )(remote_function("cluster.session.tasks", "perform"))
    call: Any = perform.remote
    given = ray.put(pickle.dumps((installed_software(), function, shared)))
    _await_worker(call, options, on_waiting)
    waiting, running = deque(tasks), list[ObjectRef[Any]]()
    try:
        while waiting or running:
            check_connection()
            places = options.workers or task_places()
            while waiting and len(running) < places:
                running.append(call(given, waiting.popleft()))
            done, running = ray.wait(running, timeout=_POLL_S)
            on_results([_get(result) for result in done])
    finally:
        for left in running:
            ray.cancel(left, force=True)


def task_places() -> int:
    """Return the number of tasks that the cluster has room for at a time, at least one."""
    return max(1, sum(map(WorkerResources().places, node_resources().values())))


def perform(given: bytes | None, task: Any) -> Any:  # noqa: ANN401
    """Call the function on a worker; without one, only show that there is a worker.

    Raises:
        RunConflictError: The node has other software than the driver.
        IrfuseError: The function has raised it.
    """
    if given is None:
        return None
    function, shared = _unpack(given)
    return function(shared, task)


@functools.lru_cache(maxsize=1)
def _unpack(given: bytes) -> tuple[Callable[[Any, Any], Any], Any]:
    """Return the function and what all of its calls need; a worker keeps them for its next call."""
    software: Software
    software, (home, name), shared = pickle.loads(given)
    software.check_node(socket.gethostname(), installed_software())
    return getattr(importlib.import_module(home), name), shared


def _await_worker(
    call: Any,  # noqa: ANN401
    options: ClusterOptions,
    on_waiting: Callable[[str], None],
) -> None:
    """Wait until a call returns that needs nothing but a worker."""
    since, report = time.monotonic(), ActivityReport(use_gpu=False)
    first: ObjectRef[Any] = call(None, None)
    while not ray.wait([first], timeout=_POLL_S)[0]:
        check_connection()
        on_waiting(report.describe([Starting(since, "")]))
        if time.monotonic() - since > options.start_timeout_s:
            ray.cancel(first)
            raise RunFailedError(
                f"No worker could be placed within {options.start_timeout_s:.0f} s; a worker "
                f"requires 1 CPU, and the cluster has {describe_resources()}"
            )
    _get(first)


def _get(reference: ObjectRef[Any]) -> Any:  # noqa: ANN401
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, IrfuseError):
            raise error.cause from None
        reason = redact_text(f"{type(error.cause).__name__}: {error.cause}")
        raise RunFailedError(f"A worker failed: {reason}") from error
    except RayError as error:
        check_connection()
        raise RunFailedError(
            f"A task was given up after its workers had died {_RETRIES + 1} times "
            f"({type(error).__name__}); run the same command again to resume"
        ) from None
