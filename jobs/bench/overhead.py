"""What Ray, storage and the driver cost beside reading, fusing, scoring and encoding themselves."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, computed_field

from cluster.runs.ledger import Ledger
from cluster.runs.plan import default_shard_size, shard_key
from cluster.runs.record import read_run
from cluster.runs.rows import TIMED_STAGES, ResultRow, encode_shard
from cluster.session.ray_session import WORKER_ENVIRONMENT, usable_cpus
from cluster.storage.reader import Reader
from cluster.storage.store import Store
from cluster.storage.weights import find_stored_weights
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.images.bit_depth import to_eight_bit
from fusion_core.images.decoding import decode_image
from fusion_core.images.encoding import encode_png
from fusion_core.methods import build_method, get_method
from fusion_core.methods.fusion import fuse_images
from fusion_core.metrics import select_metrics
from fusion_core.metrics.scoring import prepare_metrics, score_images
from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    environment,
    noisy_pair,
    to_levels,
    versions,
)
from jobs.bench.processes import CpuWatch, GpuWatch, repeatedly
from jobs.console.progress import Progress, SilentProgress

_METHOD = "densefuse"
_DISTINCT_PAIRS = 16
_LONGEST_START_S = 600.0


class Round(BaseModel):
    """The same pairs through the bare loop and through the job, one after the other."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    bare_pairs_per_second: float
    """Of plain processes, from the first one's start on a pair to the last one's end."""
    job_pairs_per_second: float
    """Of the job, from the first shard's start to the last one's commit."""
    start_seconds: float
    """From the command to the job's first fused and scored pair."""
    driver_share: float
    """Of the CPU time between first and last pair, used by the driver."""
    ray_share: float
    """Likewise, by processes of Ray other than the workers."""
    gpu_share: float | None
    """Of the time between first and last pair, in which the GPU computed."""
    stage_ms: dict[str, float]
    """Mean milliseconds a pair spent in each stage of the job."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """The job's rate as a share of the bare loop's."""
        return self.job_pairs_per_second / self.bare_pairs_per_second


class OverheadReport(Report):
    """What `irfuse bench overhead` measured."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pairs: int
    """In each round."""
    workers: int
    """Plain processes, and workers of the job."""
    rounds: list[Round]
    """In order."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_ratio(self) -> float:
        """Median of the rounds' ratios."""
        return statistics.median(part.ratio for part in self.rounds)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_start_seconds(self) -> float:
        """Median of the rounds' start-up times."""
        return statistics.median(part.start_seconds for part in self.rounds)


def bench_overhead(
    *,
    width: int = 640,
    height: int = 480,
    pairs: int = 128,
    workers: int | None = None,
    repeats: int = 3,
    device: Literal["cpu", "cuda"] = "cpu",
    progress: Progress | None = None,
) -> OverheadReport:
    """Fuse made-up pairs with DenseFuse and score them with all metrics, in two ways by turns.

    The bare loop is as many plain processes as workers, each reading, decoding, fusing, scoring,
    encoding and writing its share, pair by pair, with the functions that the job uses too.

    Args:
        width: Of the pairs.
        height: Of the pairs.
        pairs: In each round, either way.
        workers: By default one a CPU that may be used, or one for a GPU.
        repeats: Rounds.
        device: Where to compute.
        progress: Where to tell how far it is.

    Raises:
        InvalidValueError: A number is below 1, fewer pairs than workers, or no such device.
        RunFailedError: The job failed.
    """
    count = (1 if device == "cuda" else usable_cpus()) if workers is None else workers
    check_setting(min(width, height, pairs, count, repeats), device)
    if pairs < count:
        raise InvalidValueError(f"Expected at least a pair for each of {count} workers")
    progress = progress or SilentProgress()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as name:
        folder = Path(name)
        _write_pairs(Store(str(folder / "pairs")), pairs, height, width)
        for number in range(repeats):
            progress.message(f"Round {number + 1} of {repeats}: plain processes")
            bare = _bare_rate(folder, pairs, count, device)
            progress.message(f"Round {number + 1} of {repeats}: the job")
            rounds.append(_job_round(folder, number, count, device, bare))
    return OverheadReport(
        machine=describe_machine(device),
        versions=versions("irfuse", "torch", "ray"),
        width=width,
        height=height,
        pairs=pairs,
        workers=count,
        rounds=rounds,
    )


def _write_pairs(store: Store, pairs: int, height: int, width: int) -> None:
    """Write pairs, of which only so many differ: drawing noise takes longer than fusing it."""
    drawn = [
        [encode_png(to_levels(image)) for image in noisy_pair(height, width, seed)]
        for seed in range(min(pairs, _DISTINCT_PAIRS))
    ]
    for number in range(pairs):
        for modality, data in zip(("ir", "vis"), drawn[number % len(drawn)], strict=True):
            store.write(f"{modality}/{number:06d}.png", data)


# The bare loop


def _bare_rate(folder: Path, pairs: int, workers: int, device: str) -> float:
    context = multiprocessing.get_context("spawn")
    with (
        environment({**WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"}),
        context.Manager() as manager,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        everyone = manager.Barrier(workers)
        spans = list(
            pool.map(
                _work_alone,
                [str(folder)] * workers,
                [range(first, pairs, workers) for first in range(workers)],
                [pairs] * workers,
                [everyone] * workers,
                [device] * workers,
            )
        )
    return pairs / (max(end for _, end in spans) - min(start for start, _ in spans))


def _work_alone(
    folder: str, numbers: range, pairs: int, everyone: threading.Barrier, device: str
) -> tuple[float, float]:
    """Fuse and score a share of the pairs; returns when the work began and ended."""
    torch.set_num_threads(1)
    parameters = get_method(_METHOD).parameters()
    weights = find_stored_weights(_METHOD, parameters, None, None, SilentProgress())
    fuse_batch = build_method(_METHOD, parameters, weights, device)
    metrics = select_metrics()
    prepare_metrics(metrics, device)
    reader, out = Reader(), Store(f"{folder}/bare")
    shard_size = default_shard_size(pairs)
    everyone.wait(_LONGEST_START_S)
    started = time.time()
    for first in range(0, len(numbers), shard_size):
        records = []
        for number in numbers[first : first + shard_size]:
            uris = [f"{folder}/pairs/{modality}/{number:06d}.png" for modality in ("ir", "vis")]
            images = [
                to_eight_bit(decode_image(reader.read(uri)), parameters.sixteen_bit) for uri in uris
            ]
            ir, vis = ([image] for image in images)
            fused = fuse_images(fuse_batch, ir, vis, parameters, device)
            (scores,) = score_images(ir, vis, fused, metrics, device)
            row = ResultRow(f"{number:06d}", "", uris[0], uris[1], _METHOD)
            row.fused = {"bytes": encode_png(fused[0]), "path": None}
            row.metrics = scores.values
            records.append(row.to_record())
        out.write(shard_key(numbers[first]), encode_shard(records, metrics, {}))
    return started, time.time()


# The job


def _job_round(folder: Path, number: int, workers: int, device: str, bare: float) -> Round:
    out = str(folder / f"run-{number}")
    command = [
        sys.executable,
        "-m",
        "jobs.console.commands",
        "run",
        str(folder / "pairs"),
        "--out",
        out,
    ]
    options = ["--workers", str(workers), "--device", device, "--address", "local"]
    started = time.time()
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        cpu, gpu = CpuWatch(process.pid), GpuWatch(workers)
        with repeatedly(cpu.look), repeatedly(gpu.look):
            output = process.communicate()[0]
    if process.returncode:
        raise RunFailedError(f"The job failed: {output.strip().splitlines()[-1]}")
    shards = _read_shards(Store(out))
    first, last = min(s.started for s in shards), max(s.committed for s in shards)
    spent = cpu.between(first, last)
    total = sum(spent.values()) or 1.0  # a job that is over between two looks
    rows = sum(shard.rows for shard in shards)
    return Round(
        bare_pairs_per_second=bare,
        job_pairs_per_second=rows / (last - first),
        start_seconds=min(s.first_pair for s in shards) - started,
        driver_share=spent["driver"] / total,
        ray_share=spent["ray"] / total,
        gpu_share=gpu.between(first, last) if device == "cuda" else None,
        stage_ms={
            stage: statistics.mean(s.stage_ms[stage] for s in shards) for stage in TIMED_STAGES
        },
    )


@dataclass(frozen=True, slots=True)
class _Shard:
    """When a shard was computed, in seconds since the epoch."""

    rows: int
    started: float
    first_pair: float
    committed: float
    stage_ms: dict[str, float]


def _read_shards(out: Store) -> list[_Shard]:
    columns = [f"{stage}_ms" for stage in TIMED_STAGES]
    shards = []
    for content in Ledger(out, read_run(out)).contents(columns):
        assert content.table is not None
        spent = {stage: content.table[f"{stage}_ms"].to_pylist() for stage in TIMED_STAGES}
        started = datetime.fromisoformat(content.facts["started"]).timestamp()
        shards.append(
            _Shard(
                rows=content.rows,
                started=started,
                first_pair=started + sum(times[0] for times in spent.values()) / 1e3,
                committed=datetime.fromisoformat(content.facts["committed"]).timestamp(),
                stage_ms={stage: statistics.mean(times) for stage, times in spent.items()},
            )
        )
    return shards
