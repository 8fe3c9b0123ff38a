"""Timing of what a worker does besides computing: reading, decoding, encoding and committing."""

from __future__ import annotations

import csv
import io
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, computed_field

from cluster.runs import PairState, ShardProcessor, ShardTask, WorkerConfig
from cluster.session import usable_cpus
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, IrfuseError
from fusion_core.images import prepare_images, synthetic_pair
from fusion_core.metrics import Scores
from jobs.bench.measuring import Report, describe_machine, one_thread, versions
from jobs.execution import PlannedRun
from jobs.fusing import plan_fusing
from jobs.options import RunOptions
from jobs.progress import Progress, SilentProgress

ALL_IMAGES = ("gray-png", "colour-png", "gray-jpeg", "colour-jpeg")
GIVEN = "given"

_DISTINCT_PAIRS = 16
_NOISE = 3.0
"""Standard deviation in gray levels of the noise that simulates a camera."""
_QUALITY = 95
_PREFIX = "irfuse-bench-"
_SHARDS_IN_WORK = 2
"""Shards that a worker computes at the same time."""
_LARGEST_SHARD = 64


class FeedingTiming(BaseModel):
    """How one worker feeds a device with pairs of one kind."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    images: str
    """Kind of the images, such as `colour-png`; `given` for those of a source."""
    pairs: int
    """Number of pairs."""
    steps: int
    """Number of pairs for which the device computed; less than all if some could not be read."""
    seconds: float
    """Time from the beginning of the first step to the end of the last one."""
    step_ms: float
    """Time in milliseconds that the device computes for a pair."""
    cpu_ms: float
    """CPU time of the process per pair in milliseconds."""
    stage_cpu_ms: dict[str, float]
    """Parts of it: `read`, `decode` and `encode`, `commit` for the rows and their Parquet, and
    `other`."""
    source_bytes: float
    """Mean bytes of the files of a pair."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pairs_per_second(self) -> float:
        """Pairs per second."""
        return self.steps / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def busy(self) -> float:
        """Share of the time in which the device computes."""
        return self.steps * self.step_ms / 1e3 / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cores_for_one_device(self) -> float:
        """CPU cores that feed a device which never waits: CPU time by time of the device."""
        return self.cpu_ms / self.step_ms


class FeedingReport(Report):
    """Result of `irfuse bench feeding`."""

    cores: int
    """CPU cores that the process may use."""
    location: str
    """Where the pairs were read and the shards were written."""
    timings: list[FeedingTiming]
    """Timings of each kind of images."""


class SleepingComputer:
    """A device that takes some time for each pair, and no CPU time.

    Its fused image is the visible one, and its scores are the same for all pairs.

    Args:
        step_s: Seconds for each pair.
        metrics: Names of the metrics.
    """

    fuses = True

    def __init__(self, step_s: float, metrics: Sequence[str]) -> None:
        self._step_s = step_s
        self._values: dict[str, float | None] = {
            name: 1 / (n + 3) for n, name in enumerate(metrics)
        }
        self.steps = 0
        self.first = self.last = 0.0

    def upload(self, states: Sequence[PairState]) -> None:
        """Do nothing."""

    def fuse(self, states: Sequence[PairState]) -> list[NDArray[np.uint8]]:
        """Wait for the time of so many pairs."""
        started = time.perf_counter()
        time.sleep(self._step_s * len(states))
        self.first = self.first or started
        self.last = time.perf_counter()
        self.steps += len(states)
        return [state.vis for state in states if state.vis is not None]

    def score(self, states: Sequence[PairState]) -> list[Scores]:
        """Return the same scores for all pairs."""
        return [Scores(dict(self._values)) for _ in states]


def bench_feeding(
    *,
    source: str | None = None,
    images: Sequence[str] = ALL_IMAGES,
    width: int = 640,
    height: int = 480,
    pairs: int = 512,
    step_ms: float = 2.0,
    location: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> FeedingReport:
    """Compute pairs as a worker of `irfuse run` with a GPU does, but on a device that only waits.

    Reading, decoding, encoding and committing are those of a run, in one process with two shards in
    work, as in a worker. What a run computes on a GPU takes `step_ms` for each pair instead. The
    copies to and from a GPU are not part of it.

    Args:
        source: Folder or manifest of pairs to read instead of generated ones.
        images: Kinds of generated images.
        width: Width of generated images in pixels.
        height: Height of generated images in pixels.
        pairs: Number of pairs, at most; generated ones repeat after 16.
        step_ms: Time in milliseconds for each pair.
        location: Folder or URL below which generated pairs and the shards are written, and deleted
            at the end; by default a temporary folder.
        storage_options: Options for the storage of the source and the location.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A kind of images is unknown, or a number is too small.
        ManifestError: The source has no pairs.
        IrfuseError: All pairs have failed.
        StorageError: The source cannot be read, or the location cannot be written.
    """
    if unknown := [kind for kind in images if kind not in ALL_IMAGES]:
        raise InvalidValueError(
            f"Expected images of {', '.join(ALL_IMAGES)}, but got {', '.join(unknown)}"
        )
    if min(width, height, pairs) < 1 or step_ms <= 0:
        raise InvalidValueError(
            "Expected sizes, pairs and a step of more than 0, but got "
            f"{width}x{height}, {pairs} and {step_ms:g}"
        )
    progress = progress or SilentProgress()
    prepare_images()
    timings = []
    with _folder(location, storage_options or {}) as store, one_thread():
        for kind in [GIVEN] if source else dict.fromkeys(images):
            progress.message(f"Feeding {kind}")
            found = source or _write_pairs(store.below(kind), kind, (height, width), pairs)
            options = RunOptions(
                source=found,
                out=store.uri(f"{kind}/run"),
                method="average",
                limit=pairs,
                shard_size=min(_LARGEST_SHARD, -(-pairs // _SHARDS_IN_WORK)),
                storage_options=dict(storage_options or {}),
            )
            timings.append(_feed(kind, options, step_ms / 1e3))
        return FeedingReport(
            machine=describe_machine("cpu"),
            versions=versions("irfuse", "numpy", "pyarrow", "imagecodecs"),
            cores=usable_cpus(),
            location=location or "a temporary folder",
            timings=timings,
        )


def _feed(kind: str, options: RunOptions, step_s: float) -> FeedingTiming:
    """Compute all shards of a run, two at the same time."""
    run = PlannedRun(plan_fusing(options, SilentProgress()), SilentProgress())
    config = WorkerConfig(run.record, options.store(options.out), run.payload, "cuda")
    computer = SleepingComputer(step_s, run.record.metrics)
    processor = ShardProcessor(config, computer=computer)
    own = _CpuOfThreads()

    def process(shard: int) -> int:
        with own.measured():
            return processor.process(ShardTask(shard)).work.usage.bytes_read

    before = _process_cpu_s()
    with ThreadPoolExecutor(_SHARDS_IN_WORK) as threads:
        bytes_read = sum(threads.map(process, range(run.record.plan.count)))
    total = _process_cpu_s() - before
    if not computer.steps:
        raise IrfuseError(f"No pair of {options.source} could be read; see `irfuse pairs --check`")
    stages = processor.stages.steps.cpu_s
    spent = {name: stages[name] for name in ("read", "decode", "encode")}
    spent["commit"] = own.seconds - stages["fuse"] - stages["score"]
    spent["other"] = total - sum(spent.values())
    pairs = run.record.rows
    return FeedingTiming(
        images=kind,
        pairs=pairs,
        steps=computer.steps,
        seconds=computer.last - computer.first,
        step_ms=step_s * 1e3,
        cpu_ms=total / pairs * 1e3,
        stage_cpu_ms={name: seconds / pairs * 1e3 for name, seconds in spent.items()},
        source_bytes=bytes_read / pairs,
    )


class _CpuOfThreads:
    """The CPU time of several threads in a block."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add the CPU time that this thread takes in the block."""
        before = time.thread_time()
        yield
        with self._lock:
            self.seconds += time.thread_time() - before


def _process_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _folder(location: str | None, storage_options: Mapping[str, Any]) -> Iterator[Store]:
    """Yield a new folder, which is deleted at the end with all that is in it."""
    if location is None or Store(location).is_local:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=location) as folder:
            yield Store(folder)
        return
    store = Store(location, storage_options).below(f"{_PREFIX}{uuid4().hex[:12]}")
    try:
        yield store
    finally:
        for entry in store.listing().entries:
            store.delete(entry.key)


def _write_pairs(store: Store, kind: str, shape: tuple[int, int], pairs: int) -> str:
    """Write generated pairs and their manifest, and return the location of the manifest."""
    colour, _, file_format = kind.partition("-")
    for seed in range(min(pairs, _DISTINCT_PAIRS)):
        scene = synthetic_pair(*shape, seed=seed, colour=colour == "colour")
        generator = np.random.default_rng(seed)
        for name, image in zip(("ir", "vis"), scene, strict=True):
            noisy = np.clip(image + generator.normal(0.0, _NOISE, image.shape), 0, 255)
            store.write(
                f"{name}/{seed}.{file_format}", _encode(noisy.astype(np.uint8), file_format)
            )
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["pair_id", "ir_uri", "vis_uri"])
    for n in range(pairs):
        files = (f"{name}/{n % _DISTINCT_PAIRS}.{file_format}" for name in ("ir", "vis"))
        rows.writerow([f"{n:06d}", *map(store.uri, files)])
    store.write("pairs.csv", text.getvalue().encode())
    return store.uri("pairs.csv")


def _encode(image: NDArray[np.uint8], file_format: str) -> bytes:
    """Encode an image as cameras and other programs do: PNG with any filters, or JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format.upper(), quality=_QUALITY)
    return buffer.getvalue()
