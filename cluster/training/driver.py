"""Training on Ray Train: a group of workers that go step by step, each with its share of a batch.

Which image, and which crop of it, is the n-th sample follows from the seed alone. So the same
training comes out of one worker or several, and of a run that was killed and resumed.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from torch import Tensor

from cluster.session.ray_session import WORKER_ENVIRONMENT, ClusterOptions
from cluster.session.resources import describe_resources, use_gpu
from cluster.training.checkpoints import Checkpoint, find_checkpoint, write_checkpoint
from cluster.training.samples import Share, TrainingJob, read_batches
from fusion_core.errors import IrfuseError, RunFailedError
from fusion_core.training.trainer import Trainer

_FIGURES = ("total", "pixel", "ssim")
_TELL_EVERY = 10
"""Steps between two looks at the losses."""
_GROUP_FAILURES = 3
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    losses: dict[str, float]
    """Of the last steps, on average; empty before the first."""


class _Monitor:
    """What the driver looks at: how far the workers are, and why they cannot go on."""

    def __init__(self, steps: int) -> None:
        self._progress = TrainingProgress(0, steps, {})
        self._started = False
        self._error: IrfuseError | None = None

    def tell(self, progress: TrainingProgress) -> None:
        """Take the latest state."""
        self._progress, self._started = progress, True

    def fail(self, error: IrfuseError) -> None:
        """Take an error that trying again would not mend."""
        self._error = self._error or error

    def look(self) -> tuple[TrainingProgress, bool, IrfuseError | None]:
        """Return the latest state, whether a worker has started, and the error."""
        return self._progress, self._started, self._error


def _train_on_worker(config: dict[str, Any]) -> None:
    """Run on each worker by Ray Train, again after any of them was lost."""
    monitor = config["monitor"]
    _, _, error = ray.get(monitor.look.remote())
    if error is not None:
        raise error
    try:
        _WorkerLoop(config["job"], monitor).run()
    except IrfuseError as error:
        ray.get(monitor.fail.remote(error))
        raise


class _WorkerLoop:
    """One worker's part of a training."""

    def __init__(self, job: TrainingJob, monitor: ActorHandle[Any]) -> None:
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        self._job, self._monitor = job, monitor
        self._rank, self._world = context.get_world_rank(), context.get_world_size()
        self._device = ray.train.torch.get_device()
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        wrap = ray.train.torch.prepare_model if self._world > 1 else lambda module: module
        self._trainer = Trainer(job.parameters, self._device, wrap)
        self._out = job.out
        self._step = 0
        self._curves: list[NDArray[np.float64]] = []
        self._recent: list[Tensor] = []
        self._seconds = self._busy_seconds = 0.0
        self._unreadable: dict[str, None] = {}

    def run(self) -> None:
        """Go on from the checkpoint to the last step."""
        self._resume()
        self._tell()
        clock = _Clock(self._device)
        begun = time.perf_counter()
        share = Share(self._step, self._job.parameters.batch, self._rank, self._world)
        for images, unreadable in read_batches(self._job, share):
            self._unreadable.update(dict.fromkeys(unreadable))
            with clock.running():
                losses = self._trainer.propagate(images)
            self._trainer.update()
            self._recent.append(torch.stack((losses.total, losses.pixel, losses.ssim)))
            self._step += 1
            last = self._step == self._job.steps
            due = last or self._step % self._job.checkpoint_every == 0
            if due or self._step % _TELL_EVERY == 0:
                self._look_at_losses()
                now = time.perf_counter()
                self._seconds += now - begun
                self._busy_seconds += clock.take()
                begun = now
                self._tell()
            if due and self._rank == 0:
                self._save()

    def _resume(self) -> None:
        found = find_checkpoint(self._out, self._job.fingerprint)
        if found is None:
            return
        self._trainer.restore(found.state, found.step)
        self._step, self._curves = found.step, [found.curves]
        self._seconds, self._busy_seconds = found.seconds, found.busy_seconds
        self._unreadable = dict.fromkeys(found.unreadable)

    def _look_at_losses(self) -> None:
        """Average the latest losses over the workers, and make sure that they are numbers."""
        losses = torch.stack(self._recent).double()
        self._recent.clear()
        if self._world > 1:
            torch.distributed.all_reduce(losses)
            losses /= self._world
        curve = losses.cpu().numpy()
        broken = ~np.isfinite(curve).all(axis=1)
        if broken.any():
            step = self._step - len(curve) + int(broken.argmax()) + 1
            raise RunFailedError(
                f"The loss is not a number at step {step}: training has diverged; use a smaller "
                f"--learning-rate than {self._job.parameters.learning_rate:g} and another --out"
            )
        self._curves.append(curve)

    def _tell(self) -> None:
        if self._rank == 0:
            latest = self._curves[-1].mean(axis=0) if self._curves and self._step else ()
            losses = {name: float(loss) for name, loss in zip(_FIGURES, latest, strict=False)}
            self._monitor.tell.remote(TrainingProgress(self._step, self._job.steps, losses))

    def _save(self) -> None:
        checkpoint = Checkpoint(
            step=self._step,
            state=self._trainer.state(),
            curves=np.concatenate(self._curves),
            seconds=self._seconds,
            busy_seconds=self._busy_seconds,
            unreadable=tuple(self._unreadable),
        )
        write_checkpoint(self._out, checkpoint, self._job.fingerprint)


class _Clock:
    """Adds up the time that a device spends in blocks; a GPU is not waited for in between."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time what the block does."""
        if self._device.type != "cuda":
            begun = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - begun
            return
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        yield
        last.record()
        self._events.append((first, last))

    def take(self) -> float:
        """Return the seconds since the last call."""
        if self._events:
            torch.cuda.synchronize(self._device)
            self._seconds += sum(first.elapsed_time(last) for first, last in self._events) / 1e3
            self._events.clear()
        seconds, self._seconds = self._seconds, 0.0
        return seconds


# Driver


def run_training(
    job: TrainingJob, options: ClusterOptions, on_progress: Callable[[TrainingProgress], None]
) -> None:
    """Train on the cluster that is connected until the last step is in a checkpoint.

    Args:
        job: What to train.
        options: Where and on how much.
        on_progress: Called about twice a second.

    Raises:
        RunFailedError: Workers cannot be placed or keep dying, or training diverges.
        IrfuseError: Images or OUT cannot be read or written.
    """
    monitor: Any = ray.remote(num_cpus=0)(_Monitor).remote(job.steps)
    with tempfile.TemporaryDirectory(prefix="irfuse-train-") as scratch:
        fit = _Fit(job, options, monitor, scratch)
        fit.start()
        deadline = time.monotonic() + options.start_timeout_s
        while fit.is_alive():
            fit.join(_POLL_S)
            progress, started, error = _look(monitor)
            if error is not None:
                raise error
            if started:
                on_progress(progress)
            elif time.monotonic() > deadline:
                raise RunFailedError(
                    f"No worker could be placed within {options.start_timeout_s:.0f} s; "
                    f"{describe_resources()}"
                )
        progress, _, error = _look(monitor)
        if error is not None:
            raise error
        if fit.error is not None:
            reason = str(fit.error).strip().splitlines()
            raise RunFailedError(
                "Training workers keep failing; run the same command again to go on from the last "
                f"checkpoint ({reason[-1] if reason else type(fit.error).__name__})"
            )
        on_progress(progress)


def _look(
    monitor: ActorHandle[Any],
) -> tuple[TrainingProgress, bool, IrfuseError | None]:
    try:
        found: Any = ray.get(monitor.look.remote(), timeout=60)
    except RayError as error:
        raise RunFailedError(
            "Ray has lost what watches over the training; run the same command again to go on "
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
            _train_on_worker,
            train_loop_config={"job": self._job, "monitor": self._monitor},
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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told in the main thread
            self.error = error
