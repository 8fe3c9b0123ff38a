"""The training loop of one worker, which computes its share of each batch."""

from __future__ import annotations

import contextlib
import pickle
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.actor import ActorHandle
from torch import Tensor

from cluster.session import installed_software
from cluster.training.checkpoints import Checkpoint, find_checkpoint, write_checkpoint
from cluster.training.record import TrainingJob
from cluster.training.samples import Share, read_batches, read_validation
from cluster.training.supervisor import TrainingProgress, TrainingState
from fusion_core.errors import IrfuseError, RunFailedError
from fusion_core.training import new_trainer

_REPORT_EVERY = 10
"""Number of steps between reports of the losses."""


def train_on_worker(config: dict[str, Any]) -> None:
    """Train until the last step.

    Ray Train calls this function on each worker, and again if a worker was lost.

    Args:
        config: `job`, a reference to a pickled `TrainingJob`, and `supervisor`, a handle of a
            `TrainingSupervisor`.
    """
    supervisor = config["supervisor"]
    state: TrainingState = ray.get(supervisor.state.remote())
    if state.error is not None:
        raise state.error
    try:
        job: TrainingJob = pickle.loads(ray.get(config["job"]))
        job.software.check_node(socket.gethostname(), installed_software())
        _WorkerLoop(job, supervisor).run()
    except IrfuseError as error:
        ray.get(supervisor.fail.remote(error))
        raise


class _WorkerLoop:
    """The state of the training loop of one worker."""

    def __init__(self, job: TrainingJob, supervisor: ActorHandle[Any]) -> None:
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        self._job, self._supervisor = job, supervisor
        self._parameters = job.record.parameters
        self._losses = tuple(self._parameters.losses)
        self._rank, self._world = context.get_world_rank(), context.get_world_size()
        self._device = ray.train.torch.get_device()
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        shared: dict[str, Any] = {}
        if self._world > 1:
            shared = {"wrap": ray.train.torch.prepare_model, "average": _mean_over_workers}
        self._trainer = new_trainer(self._parameters, self._device, **shared)
        self._out = job.out
        self._step = 0
        self._curves: list[NDArray[np.float64]] = []
        self._recent: list[Tensor] = []
        self._seconds = self._busy_seconds = 0.0
        self._unreadable: dict[str, None] = {}
        self._validation: list[NDArray[np.float64]] = []
        self._held_out = torch.empty(0)
        if self._rank == 0 and job.record.validation:
            self._held_out = read_validation(job)

    def run(self) -> None:
        """Train from the last checkpoint to the last step."""
        self._resume()
        self._report()
        clock = _Clock(self._device)
        started = time.perf_counter()
        share = Share(self._step, self._parameters.batch, self._rank, self._world)
        for batch in read_batches(self._job, share):
            self._unreadable.update(dict.fromkeys(batch.unreadable))
            with clock.running():
                losses = self._trainer.propagate(batch.images, batch.samples)
            self._trainer.update()
            self._recent.append(torch.stack(losses))
            self._step += 1
            last = self._step == self._job.record.steps
            due = last or self._step % self._job.checkpoint_every == 0
            if due or self._step % _REPORT_EVERY == 0:
                self._average_losses()
                now = time.perf_counter()
                self._seconds += now - started
                self._busy_seconds += clock.take()
                started = now
                self._report()
            if due and self._rank == 0:
                self._save()

    def _resume(self) -> None:
        found = find_checkpoint(self._out, self._job.record.fingerprint)
        if found is None:
            return
        self._trainer.restore(found.state, found.step)
        self._step, self._curves = found.step, [found.curves]
        self._seconds, self._busy_seconds = found.seconds, found.busy_seconds
        self._unreadable = dict.fromkeys(found.unreadable)
        self._validation = list(found.validation)

    def _average_losses(self) -> None:
        """Average the latest losses over the workers, and check that they are finite."""
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
                f"--learning-rate than {self._parameters.learning_rate:g} and another --out"
            )
        self._curves.append(curve)

    def _report(self) -> None:
        if self._rank == 0:
            latest = self._curves[-1].mean(axis=0) if self._curves and self._step else ()
            losses = {name: float(loss) for name, loss in zip(self._losses, latest, strict=False)}
            progress = TrainingProgress(self._step, self._job.record.steps, losses)
            self._supervisor.report.remote(progress)

    def _validate(self) -> None:
        """Compute the losses of the images that are held out."""
        if not len(self._held_out):
            return
        total = np.zeros(len(self._losses))
        for images in self._held_out.split(self._parameters.batch):
            losses = torch.stack(self._trainer.evaluate(images)).double()
            total += len(images) * losses.cpu().numpy()
        self._validation.append(np.array([self._step, *(total / len(self._held_out))]))

    def _save(self) -> None:
        self._validate()
        checkpoint = Checkpoint(
            step=self._step,
            state=self._trainer.state(),
            curves=np.concatenate(self._curves),
            seconds=self._seconds,
            busy_seconds=self._busy_seconds,
            unreadable=tuple(self._unreadable),
            validation=np.array(self._validation).reshape(-1, 1 + len(self._losses)),
        )
        write_checkpoint(self._out, checkpoint, self._job.record.fingerprint)


class _Clock:
    """Measures the total time that a device spends in blocks, without synchronising a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Measure the time of the block."""
        if self._device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
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


class _WorkerMean(torch.autograd.Function):
    """The mean of a tensor over the workers; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401
        """Return the mean."""
        del ctx
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total / torch.distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        """Return the mean of the gradients."""
        return _WorkerMean.forward(ctx, gradients[0])


def _mean_over_workers(tensor: Tensor) -> Tensor:
    return cast(Tensor, _WorkerMean.apply(tensor))
