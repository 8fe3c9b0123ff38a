"""Connection to a Ray cluster, or start of Ray on this machine.

Ray is imported inside the functions, after the environment variables that it reads are set.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.session.addresses import cannot_use, check_address, check_same
from cluster.session.local import LOOPBACK, LocalRay
from fusion_core.choices import Device
from fusion_core.errors import RunFailedError
from fusion_core.wording import bytes_of

WORKER_ENVIRONMENT: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
}
"""Environment variables of the workers. Networks allocate and free tens of megabytes per layer,
which takes up to a third of the time with pages of 4 kB, and almost none with huge pages. Workers
compute in threads, and memory of threads is in huge pages only if they share the one arena of the
main thread."""

_LOCAL = "local"
_OBJECT_STORE_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster and the resources that a job uses."""

    address: str | None = None
    """Ray address; if None, `RAY_ADDRESS` is used, or Ray is started on this machine."""
    workers: int | None = None
    """Number of workers; if None, one per GPU, or one per CPU if there is no GPU."""
    device: Device = "auto"
    workers_per_gpu: int = 1
    """Number of workers that share a GPU."""
    memory_per_worker: int | None = None
    """Memory in bytes that a worker requests of Ray; if None, an estimate for the run. 0 requests
    none."""
    pair_timeout_s: float = 300.0
    """Longest time without progress until a worker is considered hung."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Environment of the workers that Ray makes on every node, such as `{"pip": ["package==1"]}`;
    an empty one is that of the node."""
    start_timeout_s: float = 900.0
    """Longest time to wait for the first worker."""
    metrics_linger_s: float = 0.0
    """Time for which workers that have nothing left to do stay on a cluster, so that Prometheus
    reads the last metrics."""


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True)
class _State:
    """The local Rays that this process has started and that have not ended yet."""

    early: LocalRay | None = None
    """One that no session has taken yet."""
    ending: list[LocalRay] = field(default_factory=list)
    """Those that have been released."""


_STATE = _State()


def worker_environment() -> Mapping[str, str]:
    """Return the environment variables that workers need and that their node does not set.

    A local Ray is started with them, so that the processes that it keeps ready can be used.
    """
    from cluster.session.watch import started_here

    return {} if started_here() else WORKER_ENVIRONMENT


@contextmanager
def early_start(options: ClusterOptions, needed: Callable[[], bool]) -> Iterator[None]:
    """Begin to start Ray, if it is to run on this machine, for the first session in the block.

    It starts while this process imports other packages and plans the work, and stops while the
    process does what follows the session. If the block fails, nothing is waited for.

    Args:
        options: The cluster to use.
        needed: Whether a session will be needed; otherwise, one that is still begins then.
    """
    if not _is_connected() and _address(options) == _LOCAL and needed():
        end_sessions()
        _STATE.early = _start_local(options)
    try:
        yield
    finally:
        early, _STATE.early = _STATE.early, None
        if early is not None:
            _release(early)
    end_sessions()


@contextmanager
def ray_session(
    options: ClusterOptions, notify: Callable[[str], None] = lambda message: None
) -> Iterator[str]:
    """Connect to a cluster, or start Ray on this machine, for the duration of the block.

    If the calling program has initialised Ray already, that session is used and left running.
    Yields the address, for further drivers. A local Ray may still be stopping after the block (see
    `end_sessions`).

    Args:
        options: The cluster to use.
        notify: Called with a message when something begins that takes seconds.

    Raises:
        RunFailedError: The cluster does not answer, or the program is connected to another one.
    """
    _set_defaults()
    if _is_connected():
        with _session_of_program(options) as connected:
            yield connected
    elif (address := _address(options)) == _LOCAL:
        notify("Starting Ray")
        with _local_session(options) as connected:
            yield connected
    else:
        notify(f"Connecting to Ray at {address}")
        check_address(address)
        with _connected(address, own=False) as connected:
            yield connected
            notify("Disconnecting from Ray")


def end_sessions() -> None:
    """Wait for the end of the local Rays that are stopping, so that nothing is left of them."""
    while _STATE.ending:
        _STATE.ending[-1].end()
        _STATE.ending.pop()


atexit.register(end_sessions)


def _address(options: ClusterOptions) -> str:
    return options.address or os.environ.get("RAY_ADDRESS") or _LOCAL


def _set_defaults() -> None:
    """Set variables that Ray reads in this process and in its own, unless the user has set them."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def _is_connected() -> bool:
    """Whether this process is connected to Ray, without importing it."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextmanager
def _session_of_program(options: ClusterOptions) -> Iterator[str]:
    """Use the session that the calling program has initialised."""
    import ray

    from cluster.session.watch import watched

    connected = ray.get_runtime_context().gcs_address
    if options.address:
        check_same(options.address, connected)
    with watched(own=False):
        yield connected


@contextmanager
def _local_session(options: ClusterOptions) -> Iterator[str]:
    """Connect to a Ray of this process: the one that was started early, or another one."""
    local, _STATE.early = _STATE.early, None
    if local is None:
        end_sessions()
        local = _start_local(options)
    try:
        with local.environment(), _connected(local.address(), own=True) as connected:
            _check_own(options)
            yield connected
    finally:
        _release(local)


@contextmanager
def _connected(address: str, *, own: bool) -> Iterator[str]:
    """Connect to a running Ray, and yield its address."""
    import ray

    from cluster.session.watch import watched

    with ExitStack() as session:
        session.callback(ray.shutdown)
        _connect(address, {"_node_ip_address": LOOPBACK} if own else {})
        session.enter_context(watched(own=own))
        yield ray.get_runtime_context().gcs_address


def _start_local(options: ClusterOptions) -> LocalRay:
    """Begin to start Ray on this machine.

    Raises:
        RunFailedError: There is no place for its files.
    """
    _set_defaults()
    settings: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES}
    usable = usable_cpus()
    if options.workers or usable < (os.cpu_count() or 1):
        # Otherwise Ray's own count, which respects the limits of containers.
        settings["num_cpus"] = max(usable, options.workers or 1)
    return LocalRay(settings, WORKER_ENVIRONMENT)


def _release(local: LocalRay) -> None:
    local.release()
    _STATE.ending.append(local)


def _check_own(options: ClusterOptions) -> None:
    """Check that this machine has what a worker requires, because no other will come.

    Raises:
        RunFailedError: It has not.
    """
    import ray

    resources = ray.cluster_resources()
    if options.device == "cuda" and not resources.get("GPU"):
        raise RunFailedError("Ray finds no GPU on this machine; use --device cpu or auto")
    memory, free = options.memory_per_worker or 0, int(resources.get("memory", 0.0))
    if memory > free:
        raise RunFailedError(
            f"A worker requires {bytes_of(memory)} of memory (--memory-per-worker), and this "
            f"machine has {bytes_of(free)} for all workers; lower it, or end other programs"
        )


def _connect(address: str, settings: dict[str, Any]) -> None:
    """Call `ray.init`.

    Raises:
        RunFailedError: Ray cannot be started or used.
    """
    import ray

    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
    except Exception as error:  # Ray raises this class itself
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise cannot_use(
            address, f"{reason}; if it requires a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced it
