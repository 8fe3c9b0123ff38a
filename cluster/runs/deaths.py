"""Why a worker died, as far as the driver can find out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayError

from cluster.runs.attempts import DeathReason
from cluster.runs.messages import WorkerProgress
from cluster.runs.pool import PoolWorker
from cluster.session import alive_nodes

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ANSWER_S = 5.0

Cause = Literal["node", "unreachable", "shared memory", "worker"]


@dataclass(frozen=True, slots=True)
class Death:
    """The death of a worker."""

    cause: Cause
    """The node was lost or taken away; the worker cannot be reached; the memory of a node ran out
    that several workers shared; or the worker died or hung by itself."""
    reason: str
    """Reason for messages."""
    kind: DeathReason = "crash"
    """Reason for counts."""


def explain_death(
    worker: PoolWorker, error: RayError | str, neighbours: Sequence[PoolWorker]
) -> Death:
    """Find out why a worker died.

    The memory of a node runs out because of everything that is computed on it, so a pair is not to
    blame as long as other workers share the node, not even the pair that needs most. It is to blame
    if the memory does not suffice for the pair alone, or if its worker dies for another reason.

    Args:
        worker: The worker.
        error: Exception of a call to it, or the reason why it was given up.
        neighbours: Other workers on its node.
    """
    reason = reason_in(str(error))
    taken_away = worker.leaving or (isinstance(error, ActorDiedError) and error.preempted)
    if taken_away or (worker.info is not None and worker.node_id not in alive_nodes()):
        return Death("node", reason, "node")
    if isinstance(error, ActorUnavailableError):
        return Death("unreachable", reason, "node")
    shared = worker.shares_node or bool(neighbours)
    if shared and isinstance(error, OutOfMemoryError):  # Ray's memory monitor
        return Death("shared memory", reason, "memory")
    if shared and isinstance(error, RayError) and _killed_by_kernel(worker, neighbours):
        return Death(
            "shared memory",
            "the kernel has ended a process on its node for lack of memory",
            "memory",
        )
    if isinstance(error, OutOfMemoryError):
        return Death("worker", reason, "memory")
    return Death("worker", reason, "hung" if isinstance(error, str) else "crash")


def reason_in(text: str) -> str:
    """Return the line of a Ray error that states the reason, without terminal colours."""
    plain = _COLOURS.sub("", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if "creation task" in lines[0] else lines[0]


def _killed_by_kernel(worker: PoolWorker, neighbours: Sequence[PoolWorker]) -> bool:
    """Whether the kernel has ended processes of the node since the worker started.

    The worker need not be one of them: a pair that is not blamed is computed again, alone.
    """
    if not neighbours or worker.info is None or worker.info.memory_kills is None:
        return False
    probes: list[Any] = [neighbour.handle.progress.remote() for neighbour in neighbours]
    answered, _ = ray.wait(probes, num_returns=1, timeout=_ANSWER_S)
    for probe in answered:
        try:
            progress: WorkerProgress = ray.get(probe)
        except RayError:
            continue
        return (progress.memory_kills or 0) > worker.info.memory_kills
    return True  # nobody on this node answers: it is in trouble, or its workers are starting
