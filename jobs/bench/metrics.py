"""Timing of the metrics."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fusion_core.errors import InvalidValueError, IrfuseError
from fusion_core.metrics import ScoredBatch, Sources, score_batch, select_metrics
from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    memory_mb,
    noisy_pair,
    one_thread,
    peak_memory_mb,
    time_repeats,
    to_levels,
    versions,
)
from jobs.bench.ports import find_ports

_WARM_UPS = 2
_PORT_REPEATS = 3
_COMPILE = (
    "import sys, time; from fusion_core.metrics.scoring import prepare_metrics; "
    "start = time.perf_counter(); prepare_metrics(sys.argv[1:]); "
    "print(time.perf_counter() - start)"
)


class MetricTiming(BaseModel):
    """Time of one metric, or of all of them together."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    """Name of the metric, or `suite` for all of them together with shared intermediate results."""
    seconds_per_megapixel: float
    """Median of the repeats after warm-up, in seconds per megapixel."""
    fastest: float
    """Seconds per megapixel of the fastest repeat."""
    slowest: float
    """Seconds per megapixel of the slowest repeat."""
    pairs_per_second: float
    """Pairs per second, from the median."""
    ports: dict[str, float] = {}
    """Seconds per megapixel of other packages that compute the metric, as far as they are
    installed; medians."""


class MetricsReport(Report):
    """Result of `irfuse bench metrics`."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    batch: int
    """Number of pairs per batch."""
    repeats: int
    """Number of timed repeats after warm-up."""
    timings: list[MetricTiming]
    """Timings of each metric, with `suite` last."""
    compile_seconds: float | None
    """Time to compile all kernels, which happens once per machine; None on a GPU."""
    load_seconds: float | None
    """Time to load the compiled kernels, which happens once per process; None on a GPU."""
    memory_before_mb: float
    """Resident memory after the libraries are loaded; on a GPU, its allocated memory."""
    peak_memory_mb: float
    """Peak of the same memory while the metrics are computed."""
    kept_sources: float | None = None
    """Seconds per megapixel of all metrics together for a further fused image of a pair whose
    sources are kept."""


def bench_metrics(
    *,
    width: int = 640,
    height: int = 480,
    metrics: Sequence[str] | None = None,
    repeats: int = 9,
    device: str = "cpu",
    batch: int = 1,
) -> MetricsReport:
    """Measure the metrics on synthetic pairs, on one CPU thread or a GPU.

    The timed code starts with gray levels on the device and ends with the scores on the host.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        metrics: The metrics and presets to measure; the preset `default` by default.
        repeats: Number of timed repeats.
        device: `cpu` or `cuda`.
        batch: Number of pairs per batch.

    Raises:
        InvalidValueError: A metric is unknown, a size or number is below 1, or the device does not
            exist.
        IrfuseError: The kernels cannot be compiled on this machine.
    """
    names = select_metrics(metrics)
    if not names:
        raise InvalidValueError("Expected at least one metric")
    check_setting(min(width, height, repeats, batch), device)
    compile_seconds, load_seconds = _measure_compiling(names) if device == "cpu" else (None, None)
    triples = [_triple(height, width, seed) for seed in range(batch)]
    with one_thread():
        before = memory_mb(device)
        seconds = {name: _measure(triples, [name], repeats, device) for name in names}
        seconds["suite"] = _measure(triples, names, repeats, device)
        kept = _measure(triples, names, repeats, device, keep_sources=True)
        peak = peak_memory_mb(device)
        ports = {name: _measure_ports(name, triples[0]) for name in names if device == "cpu"}
    return MetricsReport(
        machine=describe_machine(device),
        versions=versions("irfuse", "torch", "numpy", "numba", "scipy"),
        width=width,
        height=height,
        batch=batch,
        repeats=repeats,
        timings=[
            _to_timing(name, repeated, width * height, batch, ports.get(name, {}))
            for name, repeated in seconds.items()
        ],
        compile_seconds=compile_seconds,
        load_seconds=load_seconds,
        memory_before_mb=before,
        peak_memory_mb=peak,
        kept_sources=statistics.median(kept) / (width * height * batch / 1e6),
    )


def _triple(height: int, width: int, seed: int) -> list[NDArray[np.uint8]]:
    """Generate a pair with camera noise, and its mean."""
    ir, vis = noisy_pair(height, width, seed)
    return [to_levels(image) for image in (ir, vis, (ir + vis) / 2.0)]


def _measure(
    triples: Sequence[Sequence[NDArray[np.uint8]]],
    names: Sequence[str],
    repeats: int,
    device: str,
    *,
    keep_sources: bool = False,
) -> list[float]:
    """Return the seconds of each repeat of computing the metrics together."""
    ir, vis, fused = (
        torch.from_numpy(np.stack(images)).unsqueeze(1).to(device)
        for images in zip(*triples, strict=True)
    )

    kept = Sources(ir, vis)

    @torch.inference_mode()
    def compute() -> None:
        sources = kept if keep_sources else Sources(ir, vis)
        score_batch(ScoredBatch(sources, fused), names).cpu()  # waits for a GPU

    return time_repeats(compute, repeats, _WARM_UPS)


def _measure_ports(name: str, images: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Return the seconds per megapixel of other packages that compute a metric."""
    megapixels = images[0].size / 1e6
    return {
        package: statistics.median(time_repeats(compute, _PORT_REPEATS, 1)) / megapixels
        for package, compute in find_ports(name, images).items()
    }


def _to_timing(
    name: str, seconds: list[float], pixels: int, batch: int, ports: dict[str, float]
) -> MetricTiming:
    megapixels = pixels * batch / 1e6
    median = statistics.median(seconds)
    return MetricTiming(
        name=name,
        seconds_per_megapixel=median / megapixels,
        fastest=min(seconds) / megapixels,
        slowest=max(seconds) / megapixels,
        pairs_per_second=batch / median,
        ports=ports,
    )


def _measure_compiling(names: Sequence[str]) -> tuple[float, float]:
    """Prepare the metrics in two new processes, without and with compiled kernels on disk."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", _COMPILE, *names],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                raise IrfuseError(f"The kernels cannot be compiled: {done.stderr.strip()[-1000:]}")
            seconds.append(float(done.stdout.split()[-1]))
    return seconds[0], seconds[1]
