"""Training on Ray Train: a group of workers that each compute a share of every batch.

The image and the crop of the n-th sample depend on the seed only. Therefore the result is the same
with one worker or several, and for a training that was interrupted and resumed.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.session import (
    ActivityReport,
    ClusterOptions,
    Starting,
    actor_class,
    check_connection,
    describe_resources,
    use_gpu,
)
from cluster.training.record import TrainingJob
from cluster.training.supervisor import TrainingProgress, TrainingState
from fusion_core.errors import IrfuseError, RunFailedError

_POLL_S = 0.5
_SUPERVISOR = actor_class(
    "cluster.training.supervisor",
    "TrainingSupervisor",
    {"train": {"concurrency_group": "train"}, "report": {}, "fail": {}, "state": {}},
    num_cpus=0,
    concurrency_groups={"train": 1},
)


def run_training(
    job: TrainingJob,
    options: ClusterOptions,
    on_progress: Callable[[TrainingProgress], None],
    on_waiting: Callable[[str], None] = lambda message: None,
) -> None:
    """Train on the connected cluster until the checkpoint of the last step is written.

    When this function ends, also by an exception, the training ends.

    Args:
        job: The training.
        options: The cluster and the resources to use.
        on_progress: Called about twice per second once the training has started.
        on_waiting: Called about twice per second until then, with what it waits for.

    Raises:
        RunFailedError: Workers cannot be placed or keep dying, or training diverges.
        IrfuseError: Images or OUT cannot be read or written.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    supervisor = _SUPERVISOR.options(scheduling_strategy=here).remote(job.record.steps)
    on_gpu, workers = use_gpu(options.device), options.workers or 1
    report, since = ActivityReport(use_gpu=on_gpu), time.monotonic()

    def show(state: TrainingState) -> None:
        if state.started:
            on_progress(state.progress)
            return
        on_waiting(report.describe([Starting(since, "")] * workers))
        if time.monotonic() - since > options.start_timeout_s:
            raise RunFailedError(
                f"No worker could be placed within {options.start_timeout_s:.0f} s; "
                f"{describe_resources()}"
            )

    try:
        with tempfile.TemporaryDirectory(prefix="irfuse-train-") as scratch:
            training = supervisor.train.remote(pickle.dumps(job), workers, on_gpu, scratch)
            _follow(supervisor, training, show)
    finally:
        ray.kill(supervisor)


def _follow(
    supervisor: ActorHandle[Any], training: ObjectRef[Any], show: Callable[[TrainingState], None]
) -> None:
    """Show the state of a training until it has ended."""
    ended = False
    while not ended:
        ended = bool(ray.wait([training], timeout=_POLL_S)[0])
        state = _state_of(supervisor)
        if state.error is not None:
            raise state.error
        show(state)
    _get(training)


def _state_of(supervisor: ActorHandle[Any]) -> TrainingState:
    answer: ObjectRef[Any] = supervisor.state.remote()
    while not ray.wait([answer], timeout=_POLL_S)[0]:
        check_connection()
    state: TrainingState = _get(answer)
    return state


def _get(reference: ObjectRef[Any]) -> Any:  # noqa: ANN401
    check_connection()
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, IrfuseError):
            raise error.cause from None
        raise
    except RayError as error:
        raise RunFailedError(
            "The process that supervises the training was lost; run the same command again to "
            f"resume from the last checkpoint ({type(error).__name__})"
        ) from None
