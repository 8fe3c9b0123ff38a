"""Ray for the length of a run: connected to, or started on this machine.

Ray is imported inside, after the variables are set that it reads at its import.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from fusion_core.choices import Device
from fusion_core.errors import RunFailedError

WORKER_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Of workers. Networks allocate and free tens of megabytes a layer; in pages of 4 kB that takes up
to a third of the time, in huge pages next to none."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/:]+|\[[^]]+\]):(\d+)")
_CONNECT_TIMEOUT_S = 10.0
_OBJECT_STORE_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Where and on how much a run computes."""

    address: str | None = None
    """Ray address; None for `RAY_ADDRESS`, or else a Ray of its own on this machine."""
    workers: int | None = None
    """Number of workers; None for one a GPU, or one a CPU where there is none."""
    device: Device = "auto"
    pair_timeout_s: float = 300.0
    """Longest time without any step of work before a worker is taken for hung."""
    start_timeout_s: float = 900.0
    """Longest wait for the first worker."""


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_reachable(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for minutes."""
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RunFailedError(
            f"Cannot use Ray at {address}: {error.strerror or error}; check --address and "
            "RAY_ADDRESS, and that the cluster is up"
        ) from error


@contextmanager
def ray_session(options: ClusterOptions) -> Iterator[str]:
    """Connect to a cluster, or start Ray on this machine for as long as the block lasts.

    A Ray that the calling program has initialised itself is used and left running. Yields the
    address, for further drivers.

    Raises:
        RunFailedError: The cluster does not answer.
    """
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    _check_reachable(address)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        usable = usable_cpus()
        if options.workers or usable < (os.cpu_count() or 1):  # else Ray's count, container-aware
            quiet["num_cpus"] = max(usable, options.workers or 1)
        quiet["include_dashboard"] = False
        quiet["object_store_memory"] = _OBJECT_STORE_BYTES
        quiet["_node_ip_address"] = "127.0.0.1"
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with ExitStack() as session:
        if address == "local":
            session.enter_context(_on_loopback())
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunFailedError(
                f"Cannot use Ray at {address}: {reason}; check --address and RAY_ADDRESS, and if "
                "the cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from error
        session.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in the place
        no_gpu = address == "local" and not ray.cluster_resources().get("GPU")
        if no_gpu and options.device == "cuda":
            raise RunFailedError("Ray finds no GPU on this machine; use --device cpu or auto")
        yield ray.get_runtime_context().gcs_address


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray keep to the loopback address, which it replaces by the machine's outward one.

    Each process of Ray reads a variable for that when it imports Ray, and this one has done so.
    Afterwards both are as before: a driver on the loopback address is out of a cluster's reach.
    """
    from ray._private import ray_constants

    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        given, ray_constants.ENABLE_RAY_CLUSTER = before
        if given is None:
            del os.environ[variable]
        else:
            os.environ[variable] = given
