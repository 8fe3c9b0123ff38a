"""Training on Ray Train: a group of workers that each compute a share of every batch.

The image and the crop of the n-th sample depend on the seed only. Therefore the result is the same
with one worker or several, and for a training that was interrupted and resumed.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from cluster.session import (
    WORKER_ENVIRONMENT,
    ClusterOptions,
    actor_class,
    check_connection,
    describe_resources,
    remote_function,
    use_gpu,
)
from cluster.training.record import TrainingJob
from cluster.training.worker import TrainingProgress
from fusion_core.errors import IrfuseError, RunFailedError

_GROUP_FAILURES = 3
_POLL_S = 0.5
_MONITOR = actor_class(
    "cluster.training.worker",
    "TrainingMonitor",
    {"report": {}, "fail": {}, "state": {}},
    num_cpus=0,
)


def run_training(
    job: TrainingJob, options: ClusterOptions, on_progress: Callable[[TrainingProgress], None]
) -> None:
    """Train on the connected cluster until the checkpoint of the last step is written.

    Args:
        job: The training.
        options: The cluster and the resources to use.
        on_progress: Called about twice per second.

    Raises:
        RunFailedError: Workers cannot be placed or keep dying, or training diverges.
        IrfuseError: Images or OUT cannot be read or written.
    """
    monitor: Any = _MONITOR.remote(job.record.steps)
    with tempfile.TemporaryDirectory(prefix="irfuse-train-") as scratch:
        fit = _Fit(job, options, monitor, scratch)
        fit.start()
        deadline = time.monotonic() + options.start_timeout_s
        while fit.is_alive():
            fit.join(_POLL_S)
            check_connection()
            progress, started, error = _state_of(monitor)
            if error is not None:
                raise error
            if started:
                on_progress(progress)
            elif time.monotonic() > deadline:
                raise RunFailedError(
                    f"No worker could be placed within {options.start_timeout_s:.0f} s; "
                    f"{describe_resources()}"
                )
        progress, _, error = _state_of(monitor)
        if error is not None:
            raise error
        if fit.error is not None:
            reason = str(fit.error).strip().splitlines()
            raise RunFailedError(
                "Training workers keep failing; run the same command again to resume from the last "
                f"checkpoint ({reason[-1] if reason else type(fit.error).__name__})"
            )
        on_progress(progress)


def _state_of(
    monitor: ActorHandle[Any],
) -> tuple[TrainingProgress, bool, IrfuseError | None]:
    try:
        found: Any = ray.get(monitor.state.remote(), timeout=60)
    except RayError as error:
        raise RunFailedError(
            "The monitor of the training was lost; run the same command again to resume "
            f"from the last checkpoint ({type(error).__name__})"
        ) from None
    return cast(tuple[TrainingProgress, bool, IrfuseError | None], found)


class _Fit(threading.Thread):
    """Thread of the controller loop of Ray Train, which blocks."""

    def __init__(
        self,
        job: TrainingJob,
        options: ClusterOptions,
        monitor: ActorHandle[Any],
        scratch: str,
    ) -> None:
        super().__init__(name="training", daemon=True)
        self._job, self._options = job, options
        self._monitor, self._scratch = monitor, scratch
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run until all workers have finished."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        on_gpu = use_gpu(self._options.device)
        resources = {"CPU": 1.0, **({"GPU": 1.0} if on_gpu else {})}
        # The declared type is that of the first version of Ray Train, which lacks this field.
        environment: dict[str, Any] = {"worker_runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
        trainer = TorchTrainer(
            remote_function("cluster.training.worker", "train_on_worker"),
            # Pickled, so that it is unpickled after irfuse's packages are imported on the worker,
            # and a reference, because Ray Train records the texts of its settings.
            train_loop_config={
                "job": ray.put(pickle.dumps(self._job)),
                "monitor": self._monitor,
            },
            scaling_config=ScalingConfig(
                num_workers=self._options.workers or 1,
                use_gpu=on_gpu,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="training",
                storage_path=self._scratch,
                failure_config=FailureConfig(max_failures=_GROUP_FAILURES),
                **environment,
            ),
        )
        try:
            trainer.fit()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again in the main thread
            self.error = error
