"""Connection to a Ray cluster, or start of Ray on this machine.

Ray is imported inside the functions, after the environment variables that it reads are set.
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

from cluster.session.local import local_environment
from fusion_core.choices import Device
from fusion_core.errors import RunFailedError

WORKER_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment variables of the workers. Networks allocate and free tens of megabytes per layer,
which takes up to a third of the time with pages of 4 kB, and almost none with huge pages."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/:]+|\[[^]]+\]):(\d+)")
_CONNECT_TIMEOUT_S = 10.0
_OBJECT_STORE_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster and the resources that a job uses."""

    address: str | None = None
    """Ray address; if None, `RAY_ADDRESS` is used, or Ray is started on this machine."""
    workers: int | None = None
    """Number of workers; if None, one per GPU, or one per CPU if there is no GPU."""
    device: Device = "auto"
    pair_timeout_s: float = 300.0
    """Longest time without progress until a worker is considered hung."""
    start_timeout_s: float = 900.0
    """Longest time to wait for the first worker."""


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_reachable(address: str) -> None:
    """Raise an error if nothing listens at an address, because Ray would retry for minutes."""
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RunFailedError(
            f"Cannot use Ray at {address}: {error.strerror or error}; check --address and "
            "RAY_ADDRESS, and that the cluster is running"
        ) from error


@contextmanager
def ray_session(options: ClusterOptions) -> Iterator[str]:
    """Connect to a cluster, or start Ray on this machine, for the duration of the block.

    If the calling program has initialised Ray already, that session is used and left running.
    Yields the address, for further drivers.

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
        if options.workers or usable < (
            os.cpu_count() or 1
        ):  # otherwise Ray's own count, which respects the limits of containers
            quiet["num_cpus"] = max(usable, options.workers or 1)
        quiet["include_dashboard"] = False
        quiet["object_store_memory"] = _OBJECT_STORE_BYTES
        quiet["_node_ip_address"] = "127.0.0.1"
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with ExitStack() as session:
        if address == "local":
            quiet["_temp_dir"] = str(session.enter_context(local_environment()))
        session.callback(ray.shutdown)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunFailedError(
                f"Cannot use Ray at {address}: {reason}; check --address and RAY_ADDRESS, and if "
                "the cluster requires a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced it
        no_gpu = address == "local" and not ray.cluster_resources().get("GPU")
        if no_gpu and options.device == "cuda":
            raise RunFailedError("Ray finds no GPU on this machine; use --device cpu or auto")
        yield ray.get_runtime_context().gcs_address
