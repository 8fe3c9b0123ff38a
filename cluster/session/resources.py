"""Resources of the connected Ray cluster."""

from __future__ import annotations

from typing import Literal

import ray

from cluster.session.watch import ask_ray
from fusion_core.choices import Device


def use_gpu(device: Device) -> bool:
    """Whether workers compute on GPUs: as requested, or for `auto` if the cluster has any."""
    if device == "cpu":
        return False
    return device == "cuda" or bool(ask_ray(ray.cluster_resources).get("GPU", 0) >= 1)


def worker_places(*, gpu: bool) -> int:
    """Return the number of workers that the cluster has room for, at least one."""
    return max(1, int(ask_ray(ray.cluster_resources).get("GPU" if gpu else "CPU", 0)))


def alive_nodes() -> set[str]:
    """Return the ids of the nodes that are alive."""
    return {node["NodeID"] for node in ask_ray(ray.nodes) if node["Alive"]}


def free_and_total(kind: Literal["CPU", "GPU"]) -> tuple[int, int]:
    """Return how many CPUs or GPUs of the cluster are free, and how many there are."""
    total, free = ask_ray(ray.cluster_resources), ask_ray(ray.available_resources)
    return int(free.get(kind, 0)), int(total.get(kind, 0))


def describe_resources() -> str:
    """Return a description of the free resources, for messages."""
    kinds: tuple[Literal["CPU", "GPU"], ...] = ("CPU", "GPU")
    found = {kind: free_and_total(kind) for kind in kinds}
    return ", ".join(f"{free} of {total} {kind}s free" for kind, (free, total) in found.items())
