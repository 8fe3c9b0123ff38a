"""Why a worker died, as the driver explains it."""

from typing import Any

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
from ray.exceptions import ActorDiedError, OutOfMemoryError

from cluster.runs import deaths
from cluster.runs.messages import WorkerInfo
from cluster.runs.pool import PoolWorker
from cluster.session.software import installed_software

NODE = "node"


@pytest.fixture(autouse=True)
def living_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "alive_nodes", lambda: {NODE})


def worker(node: str = NODE) -> PoolWorker:
    handle: Any = None
    info = WorkerInfo(installed_software(), "host", node, None)
    return PoolWorker(handle, None, 0.0, info=info)


def test_memory_that_other_workers_share_is_not_the_fault_of_the_worker() -> None:
    error = OutOfMemoryError("1 worker(s) were killed\nTop 10 memory users")
    death = deaths.explain_death(worker(), error, [worker()])
    assert (death.cause, death.reason) == ("shared memory", "1 worker(s) were killed")


def test_memory_that_does_not_suffice_for_one_worker_is_its_fault() -> None:
    assert deaths.explain_death(worker(), OutOfMemoryError("killed"), []).cause == "worker"


def test_neighbours_that_are_gone_already_count_as_neighbours() -> None:
    one = worker()
    one.shares_node = True
    assert deaths.explain_death(one, OutOfMemoryError("killed"), []).cause == "shared memory"


def test_a_worker_of_a_lost_node_is_lost_with_it() -> None:
    assert deaths.explain_death(worker("lost"), OutOfMemoryError("killed"), []).cause == "node"


def test_a_worker_whose_node_was_to_be_taken_away_is_lost_with_it() -> None:
    leaving = worker()
    leaving.leaving = True
    assert deaths.explain_death(leaving, ActorDiedError(), [worker()]).cause == "node"
    taken = NodeDeathInfo(reason=NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED)
    preempted = ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), node_death_info=taken))
    assert deaths.explain_death(worker(), preempted, []).cause == "node"


def test_a_death_of_which_the_kernel_knows_nothing_is_a_crash() -> None:
    assert deaths.explain_death(worker(), ActorDiedError(), [worker()]).cause == "worker"
