"""Training on Ray Train: a group of workers that go step by step, each with its share of a batch.

Which image, and which crop of it, is the n-th sample follows from the seed alone. So the same
training comes out of one worker or several, and of a run that was killed and resumed.
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
    """Train on the connected cluster until the last step is in a checkpoint.

    Args:
        job: What to train.
        options: Where and on how much.
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
            "Ray has lost the monitor of the training; run the same command again to resume "
            f"from the last checkpoint ({type(error).__name__})"
        ) from None
    return cast(tuple[TrainingProgress, bool, IrfuseError | None], found)


class _Fit(threading.Thread):
    """Ray Train's own loop, which blocks, in a thread of its own."""

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
        """Run until all workers are done."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        on_gpu = use_gpu(self._options.device)
        resources = {"CPU": 1.0, **({"GPU": 1.0} if on_gpu else {})}
        # Its declared type is that of Ray Train's first version, which has no such field.
        environment: dict[str, Any] = {"worker_runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
        trainer = TorchTrainer(
            remote_function("cluster.training.worker", "train_on_worker"),
            # Pickled here, because it is unpickled after the packages were imported there.
            train_loop_config={"job": pickle.dumps(self._job), "monitor": self._monitor},
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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised in the main thread
            self.error = error
