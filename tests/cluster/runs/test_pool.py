"""How many workers find a place: fractions of GPUs, and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from support.processes import wait_until

from cluster.runs import pool as pools
from cluster.runs.messages import WorkerInfo
from cluster.runs.pool import WorkerPool
from cluster.session import connection
from cluster.session.connection import ClusterOptions, ray_session
from cluster.session.local import LocalRay
from cluster.session.software import installed_software
from fusion_core.errors import RunFailedError

GPUS, CPUS = 1, 8


def _worker_class() -> Any:
    """Return an actor that takes the resources of a worker, imports nothing, and computes nothing.

    It is defined in a function, so that it is sent by value.
    """

    @ray.remote
    class Worker:
        def start(self, config: object, payload: object) -> str:
            return str(ray.get_runtime_context().get_node_id())

        def gpu(self) -> list[str]:
            return list(ray.get_runtime_context().get_accelerator_ids()["GPU"])

    return Worker


@pytest.fixture(scope="module")
def node() -> Iterator[float]:
    """A node with GPUs that only Ray believes in; yields its memory."""
    with pytest.MonkeyPatch.context() as patch:

        def with_gpus(settings: dict[str, Any], variables: dict[str, str]) -> LocalRay:
            return LocalRay(settings | {"num_gpus": GPUS, "num_cpus": CPUS}, variables)

        patch.setattr(connection, "LocalRay", with_gpus)
        patch.setattr(pools, "_ACTOR", _worker_class())
        with ray_session(ClusterOptions(address="local")):
            yield ray.cluster_resources()["memory"]


def config_without_payload() -> Any:
    return SimpleNamespace(on_device=lambda device: None, payload=None)


def ready_workers(**options: Any) -> WorkerPool:
    """Return a pool whose workers have all found a place."""
    pool = WorkerPool(ClusterOptions(**options))
    pool.use(config_without_payload())

    def all_ready() -> bool:
        pool.spawn(100)
        for worker in pool.workers:
            if worker.starting and ray.wait([worker.starting], timeout=0)[0]:
                node = ray.get(worker.starting)
                pool.started(worker, WorkerInfo(installed_software(), "host", node, None))
        return bool(pool.workers) and len(pool.ready()) == len(pool.workers)

    wait_until(all_ready, timeout=60, what="the workers")
    return pool


def test_several_workers_share_a_gpu(node: float) -> None:
    pool = ready_workers(device="cuda", workers_per_gpu=3, memory_per_worker=0)
    found = ray.get([worker.handle.gpu.remote() for worker in pool.workers])
    assert found == [["0"]] * 3
    pool.stop()


def test_a_node_gets_as_many_workers_as_its_memory_suffices_for(node: float) -> None:
    pool = ready_workers(device="cpu", memory_per_worker=int(node / 3.5), workers=5)
    assert len(pool.workers) == 3
    assert pool.withheld == 2  # this machine will not grow
    pool.stop()


def test_the_first_worker_of_another_run_requests_the_memory_of_that_run(
    node: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = WorkerPool(ClusterOptions(device="cpu"))
    requested = []
    for memory in (1_000_000, 2_000_000):
        monkeypatch.setattr(pools, "estimate_memory", lambda config, memory=memory: memory)
        pool.use(config_without_payload())
        pool.spawn(0)
        requested.append(pool.resources.memory)
    assert requested == [1_000_000, 2_000_000]


def test_workers_that_find_no_place_are_an_error_that_names_what_they_require(
    node: float,
) -> None:
    options = ClusterOptions(device="cpu", memory_per_worker=int(2 * node), start_timeout_s=0.5)
    pool = WorkerPool(options)
    pool.use(config_without_payload())
    pool.spawn(1)
    time.sleep(0.6)
    with pytest.raises(RunFailedError, match=r"requires 1 CPU and .* GB of memory, .* has .* GB"):
        pool.spawn(1)
    pool.stop()
