"""Connection to a Ray cluster, or start of Ray on this machine.

Ray is imported inside the functions, after the environment variables that it reads are set.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.session.addresses import cannot_use, check_address, check_same
from cluster.session.local import local_environment
from fusion_core.choices import Device
from fusion_core.errors import RunFailedError
from fusion_core.wording import bytes_of

WORKER_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment variables of the workers. Networks allocate and free tens of megabytes per layer,
which takes up to a third of the time with pages of 4 kB, and almost none with huge pages."""

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


@contextmanager
def ray_session(
    options: ClusterOptions, notify: Callable[[str], None] = lambda message: None
) -> Iterator[str]:
    """Connect to a cluster, or start Ray on this machine, for the duration of the block.

    If the calling program has initialised Ray already, that session is used and left running.
    Yields the address, for further drivers.

    Args:
        options: The cluster to use.
        notify: Called with a message when something begins that takes seconds.

    Raises:
        RunFailedError: The cluster does not answer, or the program is connected to another one.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    from cluster.session.watch import watched

    if ray.is_initialized():
        connected = ray.get_runtime_context().gcs_address
        if options.address:
            check_same(options.address, connected)
        with watched(own=False):
            yield connected
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    with ExitStack() as session:
        if address == "local":
            notify("Starting Ray")
            folder = session.enter_context(local_environment())
            settings = _local_settings(options, folder)
        else:
            notify(f"Connecting to Ray at {address}")
            check_address(address)
            settings = {}
        session.callback(ray.shutdown)
        _connect(address, settings)
        if address == "local":
            _check_own(options, ray.cluster_resources())
        session.enter_context(watched(own=address == "local"))
        yield ray.get_runtime_context().gcs_address
        notify("Stopping Ray" if address == "local" else "Disconnecting from Ray")


def _check_own(options: ClusterOptions, resources: Mapping[str, float]) -> None:
    """Check that this machine has what a worker requires, because no other will come.

    Raises:
        RunFailedError: It has not.
    """
    if options.device == "cuda" and not resources.get("GPU"):
        raise RunFailedError("Ray finds no GPU on this machine; use --device cpu or auto")
    memory, free = options.memory_per_worker or 0, int(resources.get("memory", 0.0))
    if memory > free:
        raise RunFailedError(
            f"A worker requires {bytes_of(memory)} of memory (--memory-per-worker), and this "
            f"machine has {bytes_of(free)} for all workers; lower it, or end other programs"
        )


def _local_settings(options: ClusterOptions, folder: Path) -> dict[str, Any]:
    """Return the arguments of `ray.init` for a Ray of this process."""
    settings: dict[str, Any] = {
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(folder),
    }
    usable = usable_cpus()
    if options.workers or usable < (os.cpu_count() or 1):
        # Otherwise Ray's own count, which respects the limits of containers.
        settings["num_cpus"] = max(usable, options.workers or 1)
    return settings


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
        if address == "local":
            raise RunFailedError(f"Ray cannot be started on this machine: {reason}") from error
        raise cannot_use(
            address, f"{reason}; if it requires a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced it
