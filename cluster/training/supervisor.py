"""The actor that runs Ray Train, and that knows the progress of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from cluster.session import WORKER_ENVIRONMENT, remote_function
from fusion_core.errors import IrfuseError, RunFailedError

_GROUP_FAILURES = 3


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress of a training at one moment."""

    step: int
    """Steps done."""
    steps: int
    """Total number of steps."""
    losses: dict[str, float]
    """Mean losses of the last steps; empty before the first step."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What is known about a training at one moment."""

    progress: TrainingProgress
    started: bool
    """Whether a worker has started."""
    error: IrfuseError | None
    """An error that a retry would not avoid."""


class TrainingSupervisor:
    """Runs Ray Train, and stores the progress of the workers and the error that stopped them.

    All workers of Ray Train belong to the process that has started it, and end with it. Here this
    is an actor, which the driver can end, unlike a thread of its own.
    """

    def __init__(self, steps: int) -> None:
        self._state = TrainingState(TrainingProgress(0, steps, {}), started=False, error=None)

    def train(self, job: bytes, workers: int, on_gpu: bool, scratch: str) -> None:
        """Train until all workers have finished.

        Args:
            job: A pickled `TrainingJob`, which is unpickled only on workers, after irfuse's
                packages are imported.
            workers: Number of workers.
            on_gpu: Whether each worker has a GPU.
            scratch: Folder of Ray Train.

        Raises:
            RunFailedError: Workers keep failing.
        """
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        # The declared type is that of the first version of Ray Train, which lacks this field.
        environment: dict[str, Any] = {"worker_runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
        supervisor = ray.get_runtime_context().current_actor
        trainer = TorchTrainer(
            remote_function("cluster.training.worker", "train_on_worker"),
            # The job is a reference, because Ray Train records the texts of its settings.
            train_loop_config={"job": ray.put(job), "supervisor": supervisor},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=on_gpu,
                resources_per_worker={"CPU": 1.0, **({"GPU": 1.0} if on_gpu else {})},
            ),
            run_config=RunConfig(
                name="training",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=_GROUP_FAILURES),
                **environment,
            ),
        )
        try:
            trainer.fit()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of whatever kind, it ends here
            lines = str(error).strip().splitlines()
            raise RunFailedError(
                "Training workers keep failing; run the same command again to resume from the last "
                f"checkpoint ({lines[-1] if lines else type(error).__name__})"
            ) from None

    def report(self, progress: TrainingProgress) -> None:
        """Store the latest progress."""
        self._state = TrainingState(progress, True, self._state.error)

    def fail(self, error: IrfuseError) -> None:
        """Store an error that a retry would not avoid."""
        state = self._state
        self._state = TrainingState(state.progress, state.started, state.error or error)

    def state(self) -> TrainingState:
        """Return what is known."""
        return self._state
