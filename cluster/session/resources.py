"""Resources of the connected Ray cluster, and what a worker requests of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray

from cluster.session import ray_internals
from cluster.session.watch import ask_ray
from fusion_core.choices import Device
from fusion_core.wording import bytes_of

Kind = Literal["CPU", "GPU"]

_GRANULES = 10_000
"""Ray counts resources in units of 1/10,000, and rounds to the nearest one."""


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What a worker requests of Ray besides one CPU."""

    workers_per_gpu: int | None = None
    """Number of workers that share a GPU; None for a worker on a CPU."""
    memory: int = 0
    """Memory in bytes; 0 requests none."""

    @property
    def gpus(self) -> float:
        """Share of a GPU, rounded down so that all workers of a GPU find a place on it."""
        count = self.workers_per_gpu
        return 0.0 if count is None else _GRANULES // count / _GRANULES

    def options(self) -> dict[str, Any]:
        """Return the options of a Ray actor."""
        optional = {"num_gpus": self.gpus, "memory": self.memory}
        return {"num_cpus": 1, **{name: value for name, value in optional.items() if value}}

    def places(self, node: Mapping[str, float]) -> int:
        """Return the number of workers that a node with these resources has room for."""
        limits = [node.get("CPU", 0.0)]
        if self.workers_per_gpu is not None:
            limits.append(math.floor(node.get("GPU", 0.0)) * self.workers_per_gpu)
        if self.memory:
            limits.append(node.get("memory", 0.0) // self.memory)
        return int(min(limits))

    def within(self, nodes: Iterable[Mapping[str, float]]) -> WorkerResources:
        """Return the resources with no more memory than the largest suitable node has.

        Nodes without a free kind of CPU or GPU do not count. Without suitable nodes, which a
        cluster that grows adds later, nothing changes.
        """
        compute = replace(self, memory=0)
        found = [int(node.get("memory", 0.0)) for node in nodes if compute.places(node)]
        return replace(self, memory=min(self.memory, max(found))) if found else self

    def __str__(self) -> str:
        """Return a description for messages."""
        parts = ["1 CPU"]
        if self.workers_per_gpu is not None:
            parts.append("1 GPU" if self.workers_per_gpu == 1 else f"1/{self.workers_per_gpu} GPU")
        if self.memory:
            parts.append(f"{bytes_of(self.memory)} of memory")
        return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def use_gpu(device: Device) -> bool:
    """Whether workers compute on GPUs: as requested, or for `auto` if the cluster has any."""
    if device == "cpu":
        return False
    return device == "cuda" or bool(ask_ray(ray.cluster_resources).get("GPU", 0) >= 1)


def node_resources() -> dict[str, dict[str, float]]:
    """Return all resources of each node that is alive, by its id."""
    return {node["NodeID"]: node["Resources"] for node in ask_ray(ray.nodes) if node["Alive"]}


def alive_nodes() -> set[str]:
    """Return the ids of the nodes that are alive."""
    return set(node_resources())


def draining_nodes() -> set[str]:
    """Return the ids of the nodes that are to be taken away, such as spot instances."""
    return set(ask_ray(ray_internals.draining_nodes))


def free_and_total(kind: Kind) -> tuple[int, int]:
    """Return how many CPUs or GPUs of the cluster are free, and how many there are."""
    total, free = ask_ray(ray.cluster_resources), ask_ray(ray.available_resources)
    return int(free.get(kind, 0)), int(total.get(kind, 0))


def free_and_total_memory() -> tuple[int, int]:
    """Return how many bytes of memory no worker has requested, and how many there are."""
    total, free = ask_ray(ray.cluster_resources), ask_ray(ray.available_resources)
    return int(free.get("memory", 0)), int(total.get("memory", 0))


def describe_resources() -> str:
    """Return a description of the free resources, for messages."""
    kinds: tuple[Kind, ...] = ("CPU", "GPU")
    found = {kind: free_and_total(kind) for kind in kinds}
    counts = [f"{free} of {total} {kind}s" for kind, (free, total) in found.items()]
    memory = " of ".join(map(bytes_of, free_and_total_memory()))
    return f"{', '.join(counts)} and {memory} of memory free"
