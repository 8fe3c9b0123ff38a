"""What a worker requests of Ray, and how many find a place."""

from __future__ import annotations

import pytest

from cluster.session.resources import WorkerResources

GB = 10**9
NODE = {"CPU": 64.0, "memory": 45.0 * GB}


def test_a_worker_requests_a_cpu_and_what_else_it_needs() -> None:
    assert WorkerResources().options() == {"num_cpus": 1}
    assert WorkerResources(1, 2 * GB).options() == {
        "num_cpus": 1, "num_gpus": 1.0, "memory": 2 * GB
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 100])
def test_all_workers_of_a_gpu_find_a_place_on_it_as_ray_counts(count: int) -> None:
    granules = round(WorkerResources(count).gpus * 10_000)
    assert 10_000 - count < granules * count <= 10_000


@pytest.mark.parametrize(
    ("resources", "node", "expected"),
    [
        (WorkerResources(), NODE, 64),
        (WorkerResources(memory=1_300_000_000), NODE, 34),
        (WorkerResources(memory=46 * GB), NODE, 0),
        (WorkerResources(1), NODE, 0),
        (WorkerResources(3), {"CPU": 8.0, "GPU": 2.0}, 6),
        (WorkerResources(8), {"CPU": 4.0, "GPU": 1.0}, 4),
        (WorkerResources(2, 4 * GB), {"CPU": 8.0, "GPU": 4.0, "memory": 15.0 * GB}, 3),
        (WorkerResources(), {"CPU": 0.0, "memory": 9.0 * GB}, 0),
    ],
)
def test_the_scarcest_resource_decides_how_many_workers_a_node_has_room_for(
    resources: WorkerResources, node: dict[str, float], expected: int
) -> None:
    assert resources.places(node) == expected


def test_an_estimate_is_no_more_than_the_largest_suitable_node_has() -> None:
    head, small, large = {"memory": 64.0 * GB}, {"CPU": 1.0, "memory": 1.0 * GB}, NODE
    wanted = WorkerResources(memory=2 * GB)
    assert wanted.within([head, small]).memory == GB
    assert wanted.within([head, small, large]).memory == 2 * GB
    assert wanted.within([head]).memory == 2 * GB  # the cluster has yet to grow


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (WorkerResources(), "1 CPU"),
        (WorkerResources(1), "1 CPU and 1 GPU"),
        (WorkerResources(2, 1_290_000_000), "1 CPU, 1/2 GPU and 1.3 GB of memory"),
    ],
)
def test_what_a_worker_requests_can_be_read(resources: WorkerResources, expected: str) -> None:
    assert str(resources) == expected
