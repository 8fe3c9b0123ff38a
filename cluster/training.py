"""Training on Ray Train: a group of workers that go step by step, each with its share of a batch.

Which image, and which crop of it, is the n-th sample follows from the seed alone. So the same
training comes out of one worker or several, and of a run that was killed and resumed. A checkpoint
is one object, published whole, with all that later steps depend on and the curves so far.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from numpy.typing import NDArray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from cluster.images import read_gray
from cluster.resources import describe_resources, use_gpu
from cluster.session import ClusterOptions
from cluster.storage import Store
from fusion_core.errors import (
    ImageDecodeError,
    IrfuseError,
    RunFailedError,
    StorageError,
)
from fusion_core.training import Trainer, TrainingParameters, crop_image

CHECKPOINT_KEY = "checkpoint.safetensors"
IMAGES_KEY = "images.parquet"

_FIGURES = ("total", "pixel", "ssim")
_TELL_EVERY = 10
"""Steps between two looks at the losses."""
_READERS = 8
_SUBSTITUTES = 20
"""Images that are tried in the place of one that cannot be read."""
_BATCHES_AHEAD = 4
_GROUP_FAILURES = 3
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What the workers are told."""

    out_url: str
    images_url: str
    parameters: TrainingParameters
    steps: int
    checkpoint_every: int
    fingerprint: str
    max_pixels: int
    middle: bool = False
    """Train on the middle of one image, always the same."""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def out(self) -> Store:
        """Where it is kept."""
        return Store(self.out_url, self.storage_options)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    losses: dict[str, float]
    """Of the last steps, on average; empty before the first."""


# Checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training has come to."""

    step: int
    state: dict[str, Tensor]
    curves: NDArray[np.float64]
    """`(step, 3)`: total, pixel and SSIM loss of each step."""
    seconds: float
    """Time spent on the steps, all sessions together."""
    busy_seconds: float
    """Of it, in forward and backward passes."""
    unreadable: tuple[str, ...] = ()
    """Images that could not be read, for which others were taken."""


def write_checkpoint(out: Store, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Publish a checkpoint in the place of the one before.

    Raises:
        StorageError: It cannot be written.
    """
    facts = {
        "fingerprint": fingerprint,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "busy_seconds": checkpoint.busy_seconds,
        "unreadable": checkpoint.unreadable,
    }
    tensors = {**checkpoint.state, "curves": torch.from_numpy(checkpoint.curves)}
    out.write(CHECKPOINT_KEY, save_safetensors(tensors, {"irfuse": json.dumps(facts)}))


def find_checkpoint(out: Store, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint of a training, None where there is none.

    Raises:
        StorageError: It cannot be read, is damaged, or belongs to a training with other settings.
    """
    if not out.exists(CHECKPOINT_KEY):
        return None
    data = out.read(CHECKPOINT_KEY)
    where = out.uri(CHECKPOINT_KEY)
    try:
        tensors = load_safetensors(data)
        facts = json.loads(_metadata(data)["irfuse"])
        curves = tensors.pop("curves").numpy()
        checkpoint = Checkpoint(
            step=int(facts["step"]),
            state=tensors,
            curves=curves,
            seconds=float(facts["seconds"]),
            busy_seconds=float(facts["busy_seconds"]),
            unreadable=tuple(facts["unreadable"]),
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise StorageError(
            f"{where} is damaged or no checkpoint of irfuse ({error}); delete it to begin again"
        ) from None
    if facts.get("fingerprint") != fingerprint or curves.shape != (checkpoint.step, 3):
        raise StorageError(
            f"{where} was written by a training with other settings; use another --out, or delete "
            "it to begin again"
        )
    return checkpoint


def _metadata(data: bytes) -> dict[str, str]:
    """Return a safetensors file's own metadata, which lies in its head as JSON."""
    length = int.from_bytes(data[:8], "little")
    return cast(dict[str, str], json.loads(data[8 : 8 + length])["__metadata__"])


# Samples


@dataclass(frozen=True)
class SamplePlan:
    """Which image each sample is cut from, and where: a pure function of the seed."""

    images: int
    seed: int

    def image(self, sample: int) -> int:
        """Return the image's number: every epoch takes each image once, in an order of its own."""
        epoch, place = divmod(sample, self.images)
        return int(_order(self.images, self.seed, epoch)[place])

    def generator(self, sample: int) -> np.random.Generator:
        """Return the generator that places a sample's crop."""
        return np.random.default_rng([self.seed, 1, sample])


@functools.lru_cache(maxsize=4)
def _order(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0, epoch]).permutation(images)


def write_images(out: Store, keys: list[str]) -> None:
    """Freeze the list of a training's images."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": pa.array(keys, pa.string())}), buffer)
    out.write(IMAGES_KEY, buffer.getvalue().to_pybytes())


def read_images(out: Store) -> list[str]:
    """Return the list of a training's images.

    Raises:
        StorageError: It is missing or damaged.
    """
    try:
        table = pq.read_table(pa.BufferReader(out.read(IMAGES_KEY)), columns=["image"])
    except pa.ArrowException as error:
        raise StorageError(f"{out.uri(IMAGES_KEY)} is damaged: {error}") from None
    return cast(list[str], table.column("image").to_pylist())


class _Samples:
    """Reads samples, in a worker or in a reading task."""

    def __init__(self, job: TrainingJob) -> None:
        self._job = job
        self._store = Store(job.images_url, job.storage_options)
        self._keys = read_images(job.out)
        self._plan = SamplePlan(len(self._keys), job.parameters.seed)

    def read(self, sample: int) -> tuple[NDArray[np.uint8], str]:
        """Return a sample's crop, and the image that could not be read in its place if any.

        Raises:
            StorageError: None of many images could be read.
            ImageDecodeError: Likewise.
        """
        side = self._job.parameters.crop
        first = self._plan.image(sample)
        unreadable = ""
        for attempt in range(min(_SUBSTITUTES, len(self._keys))):
            key = self._keys[(first + attempt) % len(self._keys)]
            try:
                image = read_gray(self._store, key, self._job.max_pixels)
            except (StorageError, ImageDecodeError) as error:
                unreadable, last = unreadable or key, error
                continue
            generator = None if self._job.middle else self._plan.generator(sample)
            return crop_image(image, side, generator), unreadable
        raise last


@dataclass(frozen=True, slots=True)
class Share:
    """Which samples one worker of several gets, from a step on."""

    first_step: int
    batch: int
    rank: int
    world: int

    @property
    def size(self) -> int:
        """Samples a step."""
        return self.batch // self.world

    def sample(self, number: int) -> int:
        """Return the worker's n-th sample."""
        steps, place = divmod(number, self.size)
        return (self.first_step + steps) * self.batch + self.rank * self.size + place


def _batches(job: TrainingJob, share: Share) -> Iterator[tuple[Tensor, list[str]]]:
    """Yield a worker's batches `(B, 1, H, W)` uint8, with the images that could not be read.

    Threads read ahead, a bounded number of samples. Not Ray Data: its tasks need a place beside the
    workers, and with two workers on two CPUs it waits for one for ever.
    """
    steps = job.steps - share.first_step
    samples = _Samples(job)
    if job.middle:
        crop, _ = samples.read(0)
        images = torch.from_numpy(crop)[None, None].expand(share.size, -1, -1, -1)
        yield from ((images, []) for _ in range(steps))
        return
    ahead = share.size * _BATCHES_AHEAD + _READERS
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
        numbers = iter(range(steps * share.size))

        def read(number: int) -> Future[tuple[NDArray[np.uint8], str]]:
            return pool.submit(samples.read, share.sample(number))

        pending = deque(read(number) for number in itertools.islice(numbers, ahead))
        try:
            for _ in range(steps):
                found = [pending.popleft().result() for _ in range(share.size)]
                pending.extend(read(number) for number in itertools.islice(numbers, share.size))
                crops = torch.from_numpy(np.stack([crop for crop, _ in found])).unsqueeze(1)
                yield crops, [name for _, name in found if name]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# Workers


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
        for images, unreadable in _batches(self._job, share):
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
        self.error: Exception | None = None

    def run(self) -> None:
        """Run until all workers are done."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        on_gpu = use_gpu(self._options.device)
        resources = {"CPU": 1.0, **({"GPU": 1.0} if on_gpu else {})}
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
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # noqa: BLE001 - told in the main thread
            self.error = error
