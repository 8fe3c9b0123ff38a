"""Options of the jobs that make cluster files."""

from __future__ import annotations

import re
from typing import Annotated

from cyclopts import Group, Parameter
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ByteSize, Field

from jobs.key_values import parse_key_values
from jobs.options.common import RAY, Flag, LocationOptions, Size
from jobs.options.fusing import RunOptions

CLUSTER = Group("Cluster", sort_key=0)


def _matches(pattern: str, expected: str) -> AfterValidator:
    """Return a validator of texts that match a pattern, which is described in words."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"Expected {expected}, but got {text!r}")
        return text

    return AfterValidator(check)


_Name = Annotated[
    str,
    _matches(
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        "lowercase letters, digits and hyphens, a letter first and no hyphen last",
    ),
]
_Word = Annotated[str, _matches(r"[\w.@+-]+", "letters, digits and any of _.@+-")]
"""A name that stands in scripts without quotes."""
_Image = Annotated[str, _matches(r"\S+", "an image, such as example.org/irfuse:0.1.0")]
_Ami = Annotated[str, _matches(r"ami-\w+", "the id of an image, such as ami-0123456789abcdef0")]
_Region = Annotated[str, _matches(r"[\w-]+", "a region, such as us-west-2")]
_Time = Annotated[
    str, _matches(r"(\d+-)?\d+(:\d{2}){0,2}", "a time, such as 12:00:00 or 2-00:00:00")
]


class DeployOptions(RunOptions):
    """Common options of the files that start a cluster with a run on it."""

    job_name: Annotated[_Name, Parameter(group=CLUSTER)] = Field(default="irfuse", max_length=47)
    """Name of the job and of its cluster: lowercase letters, digits and hyphens."""
    gpus_per_node: Annotated[int | None, Parameter(group=CLUSTER)] = Field(default=None, ge=0)
    """GPUs of each node; 1 by default, and 0 with --device cpu."""
    cpus_per_node: Annotated[int, Parameter(group=CLUSTER)] = Field(default=4, ge=1)
    """CPUs of each node; each worker takes one."""


class DeployKubeRayOptions(DeployOptions):
    """Print a RayJob for KubeRay, which runs `irfuse run SOURCE --out OUT` on Kubernetes.

    Takes all options of `irfuse run`. Save what is printed and give it to `kubectl apply -f`.
    """

    image: Annotated[_Image, Parameter(group=CLUSTER)]
    """Image of all nodes, which contains irfuse, such as one of cluster/deploy/Dockerfile."""
    namespace: Annotated[_Name | None, Parameter(group=CLUSTER)] = None
    """Namespace of the job; by default that of kubectl."""
    service_account: Annotated[str | None, Parameter(group=CLUSTER)] = None
    """Service account with the right to read the pairs and write OUT; by default that of the
    namespace."""
    secret: Annotated[str | None, Parameter(group=CLUSTER)] = None
    """Secret whose entries become environment variables, such as AWS_ACCESS_KEY_ID, where the
    service account has no rights."""
    node_selector: Annotated[
        dict[str, str], BeforeValidator(parse_key_values), Parameter(group=CLUSTER)
    ] = Field(default_factory=dict)
    """Label that nodes must have as NAME=VALUE, repeated for each, such as that of a kind of
    GPU."""
    memory_per_node: Annotated[Size, Parameter(group=CLUSTER)] = ByteSize(16 * 2**30)
    """Memory of each node."""
    workers: Annotated[int, Parameter(group=RAY)] = Field(default=8, ge=1)
    """Number of workers. The cluster grows to as many nodes as they take."""


class DeployRayOptions(DeployOptions):
    """Print a cluster file for Ray's launcher, which starts machines on AWS for a run.

    Takes all options of `irfuse run`, and the file says with which commands the run is started.
    """

    ami: Annotated[_Ami, Parameter(group=CLUSTER)]
    """Image of all machines: Ubuntu 24.04, with the NVIDIA driver if nodes have GPUs."""
    region: Annotated[_Region, Parameter(group=CLUSTER)] = "us-west-2"
    """Region in which the machines are started."""
    head_type: Annotated[str, Parameter(group=CLUSTER)] = "m5.large"
    """Type of the machine on which the driver runs."""
    node_type: Annotated[str, Parameter(group=CLUSTER)] = "g5.xlarge"
    """Type of the machines of the workers, with --cpus-per-node and --gpus-per-node."""
    spot: Annotated[bool, Parameter(group=CLUSTER)] = True
    """Take spot instances for the workers, which cost less and may be taken away. Ray is told
    as soon as the notice of two minutes is given."""
    head_profile: Annotated[str, Parameter(group=CLUSTER)] = "irfuse-head"
    """Instance profile of the head: it may read the pairs and write OUT, and start instances."""
    node_profile: Annotated[str, Parameter(group=CLUSTER)] = "irfuse-worker"
    """Instance profile of the workers: it may read the pairs and write OUT."""
    package: Annotated[str, Parameter(group=CLUSTER)] = "."
    """What pip installs on all machines: a checkout or a wheel on this machine, which is copied, or
    a requirement such as irfuse==0.1.0."""
    workers: Annotated[int, Parameter(group=RAY)] = Field(default=8, ge=1)
    """Number of workers. The cluster grows to as many machines as they take."""


class DeploySlurmOptions(DeployOptions):
    """Print a batch script for Slurm, which runs `irfuse run SOURCE --out OUT` on several nodes.

    Takes all options of `irfuse run`. Save what is printed and give it to `sbatch`.
    """

    nodes: Annotated[int, Parameter(group=CLUSTER)] = Field(default=2, ge=1)
    """Number of nodes, each of which gets as many workers as find a place."""
    cpus_per_node: Annotated[int, Parameter(group=CLUSTER)] = Field(default=8, ge=1)
    """CPUs of each node; each worker takes one."""
    memory_per_node: Annotated[Size | None, Parameter(group=CLUSTER)] = None
    """Memory of each node; by default what the partition grants."""
    time: Annotated[_Time, Parameter(group=CLUSTER)] = "12:00:00"
    """Longest time, such as 12:00:00 or 2-00:00:00. Two minutes before its end, the run is asked to
    stop."""
    requeue: Annotated[Flag, Parameter(group=CLUSTER)] = False
    """Put the job back into the queue when its time is over or another job takes its nodes, until
    the run is done."""
    partition: Annotated[_Word | None, Parameter(group=CLUSTER)] = None
    """Partition; by default that of the cluster."""
    account: Annotated[_Word | None, Parameter(group=CLUSTER)] = None
    """Account that pays; by default that of the user."""


class DeployObservabilityOptions(LocationOptions):
    """Write what watches runs to FOLDER: scraping, alerts and a dashboard.

    The files are for the Prometheus operator and Grafana on Kubernetes, and for a Prometheus on
    this machine. Existing files are replaced.
    """

    folder: str
    """Folder to write the files to."""
    namespace: _Name | None = None
    """Namespace of the objects; by default that of kubectl."""
    label: Annotated[dict[str, str], BeforeValidator(parse_key_values)] = Field(
        default={"release": "kube-prometheus-stack"}
    )
    """Label by which the Prometheus operator selects its objects as NAME=VALUE, repeated for each;
    by default release=kube-prometheus-stack."""
    deadline: Annotated[dict[str, AwareDatetime], BeforeValidator(parse_key_values)] = Field(
        default_factory=dict
    )
    """Deadline of a run as NAME=TIME, repeated for each: the last part of its OUT, and a time with
    its zone, such as msrs=2026-12-01T08:00+01:00."""
