"""Files that start a cluster with a run on it: KubeRay, Ray's launcher, Slurm."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.deploy import OBJECT_STORE_BYTES, quantity, render
from cluster.runs import estimate_for_method
from cluster.session import WorkerResources
from cluster.storage import redact
from fusion_core.errors import InvalidValueError
from fusion_core.extensions import parse_target
from fusion_core.metrics import is_measure
from fusion_core.wording import bytes_of
from jobs.options import (
    DeployKubeRayOptions,
    DeployOptions,
    DeployRayOptions,
    DeploySlurmOptions,
    RunOptions,
)
from jobs.options.arguments import to_arguments
from jobs.progress import Progress

_START_TIMEOUT_S = 1800.0
"""Machines are started and images are pulled before the first worker is ready."""
_HOME = "/home/ubuntu"
_GRACE_S = 120
"""Time that Kubernetes leaves a pod to end, which is the notice of spot instances on AWS."""


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """A file that starts a cluster with a run on it."""

    text: str


def deploy_kuberay(options: DeployKubeRayOptions, progress: Progress | None = None) -> ClusterFile:
    """Return a RayJob for KubeRay.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: The options contradict each other, or name files that only this machine
            has, or secrets.
    """
    if "image_uri" in options.env:
        raise InvalidValueError(
            "--env image_uri lets Ray start containers inside the pods, where it cannot; give the "
            "image of the pods as --image"
        )
    gpus = _gpus_per_node(options)
    return ClusterFile(
        render(
            "kuberay.yaml",
            arguments=_arguments(options, gpus, growing=True),
            most_nodes=_most_nodes(options, gpus, options.workers, options.memory_per_node),
            gpus_per_node=gpus,
            memory_per_node=quantity(options.memory_per_node),
            object_store=OBJECT_STORE_BYTES,
            grace=_GRACE_S,
            **options.model_dump(
                include={
                    "job_name", "image", "namespace", "service_account", "secret",
                    "node_selector", "cpus_per_node",
                }
            ),
        )
    )  # fmt: skip


def deploy_ray(options: DeployRayOptions, progress: Progress | None = None) -> ClusterFile:
    """Return a cluster file for Ray's launcher on AWS.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: As `deploy_kuberay`.
    """
    gpus = _gpus_per_node(options)
    local = Path(options.package)
    mounted = f"{_HOME}/{'irfuse' if local.is_dir() else local.name}" if local.exists() else None
    command = " ".join(["irfuse run", *_arguments(options, gpus, growing=True)])
    return ClusterFile(
        render(
            "ray-cluster.yaml",
            command=shlex.quote(command),
            most_nodes=_most_nodes(options, gpus, options.workers, None),
            gpus_per_node=gpus,
            object_store=OBJECT_STORE_BYTES,
            mounted=mounted,
            requirement=shlex.quote(mounted or options.package),
            **options.model_dump(
                include={
                    "job_name", "ami", "region", "head_type", "node_type", "spot",
                    "head_profile", "node_profile", "package", "cpus_per_node",
                }
            ),
        )
    )  # fmt: skip


def deploy_slurm(options: DeploySlurmOptions, progress: Progress | None = None) -> ClusterFile:
    """Return a batch script for Slurm.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: As `deploy_kuberay`, but files on this machine are accepted.
    """
    gpus = _gpus_per_node(options)
    _most_nodes(options, gpus, options.workers or 1, options.memory_per_node)
    memory = options.memory_per_node
    return ClusterFile(
        render(
            "slurm.sh",
            arguments=_arguments(options, gpus, growing=False),
            gpus_per_node=gpus,
            memory_per_node=None if memory is None else f"{memory // 2**20}M",
            object_store=OBJECT_STORE_BYTES,
            **options.model_dump(
                include={
                    "job_name", "partition", "account", "nodes", "cpus_per_node", "time", "requeue",
                }
            ),
        )
    )  # fmt: skip


def _gpus_per_node(options: DeployOptions) -> int:
    gpus = options.gpus_per_node
    if gpus is None:
        return 0 if options.device == "cpu" else 1
    if (options.device == "cpu") != (gpus == 0) and options.device != "auto":
        raise InvalidValueError(f"--device {options.device} contradicts --gpus-per-node {gpus}")
    return gpus


def _most_nodes(options: DeployOptions, gpus: int, workers: int, memory: int | None) -> int:
    """Return the number of nodes that so many workers take.

    Raises:
        InvalidValueError: A node has no room for a single worker.
    """
    requested: int | None = options.memory_per_worker
    if requested is None:
        requested = estimate_for_method(options.method, options.max_pixels)
    worker = WorkerResources(options.workers_per_gpu if gpus else None, requested)
    node = {"CPU": float(options.cpus_per_node), "GPU": float(gpus)}
    for_workers = None if memory is None else max(0, memory - OBJECT_STORE_BYTES)
    node["memory"] = float("inf") if for_workers is None else float(for_workers)
    places = worker.places(node)
    if not places:
        raise InvalidValueError(
            f"A worker requires {worker}, and nodes have {options.cpus_per_node} CPUs"
            + ("" if for_workers is None else f" and {bytes_of(for_workers)} of memory for workers")
            + "; set --cpus-per-node, --memory-per-node or --memory-per-worker"
        )
    return -(-workers // places)


def _arguments(options: DeployOptions, gpus: int, *, growing: bool) -> list[str]:
    """Return the arguments of `irfuse run`, quoted, one string for each option.

    Args:
        options: The options.
        gpus: Number of GPUs of each node.
        growing: Whether nodes are added when workers wait for a place, on machines that do not see
            the files of this one.

    Raises:
        InvalidValueError: The options cannot be part of a file.
    """
    if options.storage_options:
        raise InvalidValueError(
            "--storage-options may hold secrets and cannot be part of a file; give the nodes the "
            "rights or environment variables instead"
        )
    if options.address:
        raise InvalidValueError("--address is that of the cluster which the file starts; leave it")
    for _, location in _locations(options):
        if redact(location) != location:
            raise InvalidValueError(
                f"{redact(location)} was given with a password or a query, which may be a secret "
                "and cannot be part of a file; give the nodes the right to read it without"
            )
    changed: dict[str, object] = {"device": "cuda" if gpus else "cpu"}
    if growing:
        _check_reachable(options)
        changed["address"] = "auto"
        if "start_timeout" not in options.model_fields_set:
            changed["start_timeout"] = _START_TIMEOUT_S
    return to_arguments(options.model_copy(update=changed), RunOptions, "source")


def _check_reachable(options: DeployOptions) -> None:
    """Check that locations are such that other machines see the same.

    Raises:
        InvalidValueError: One is a path on this machine.
    """
    for name, location in _locations(options):
        if "://" not in location and not location.startswith("/"):
            raise InvalidValueError(
                f"{name} is {location}, a path that exists on this machine only; expected a URL, "
                "such as s3://BUCKET/…, or an absolute path that all nodes have"
            )


def _locations(options: DeployOptions) -> Iterator[tuple[str, str]]:
    """Yield the locations that a run reads or writes, each with the name of its option.

    Raises:
        InvalidValueError: A method or metric of the user's own is not named as it must be.
    """
    yield "SOURCE", options.source
    yield "--out", options.out
    for folder in options.further_source:
        yield "--further-source", folder
    weights = str(options.weights or "")
    if "/" in weights or "." in weights:  # otherwise it is the name of weights
        yield "--weights", weights
    if "pip" in options.env:
        yield "--env pip", str(options.env["pip"])
    metrics = [name for name in options.metrics or () if not is_measure(name)]
    for option, named in (("--method", [options.method]), ("--metrics", metrics)):
        for target in map(parse_target, named):
            if target.kind not in ("entry_point", "module"):
                yield option, target.location
