"""Tables of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from jobs.console.printing import print_lines

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.bench.feeding import FeedingReport
    from jobs.bench.methods_report import MethodsReport, MethodTiming
    from jobs.bench.metrics import MetricsReport
    from jobs.bench.training import TrainingReport

_METHOD_WIDTH = 24
_PART = "*"
"""Mark of a number that was measured with less than it is about."""


def print_metrics_report(console: Console, report: MetricsReport) -> None:
    """Print the time of each metric."""
    title = (
        f"{report.machine}; {report.width}x{report.height}, batches of {report.batch}, median of "
        f"{report.repeats}"
    )
    table = Table(title=title, title_justify="left")
    columns = ["metric", "s/Mpx", "fastest", "slowest", "pairs/s"]
    packages = list(dict.fromkeys(package for timing in report.timings for package in timing.ports))
    for column in (*columns, *packages):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for timing in report.timings:
        table.add_row(
            timing.name,
            f"{timing.seconds_per_megapixel:.4f}",
            f"{timing.fastest:.4f}",
            f"{timing.slowest:.4f}",
            f"{timing.pairs_per_second:.1f}",
            *(f"{timing.ports[p]:.4f}" if p in timing.ports else "" for p in packages),
        )
    console.print(table)
    if report.kept_sources is not None:
        console.print(
            f"Further fused images of a pair whose sources are kept: {report.kept_sources:.4f} "
            "s/Mpx for all metrics together.",
            highlight=False,
            soft_wrap=True,
        )
    if report.compile_seconds is not None and report.load_seconds is not None:
        console.print(
            f"Compiling, once per machine: {report.compile_seconds:.1f} s. "
            f"Loading the compiled kernels, once per process: {report.load_seconds:.1f} s.",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"Peak memory: {report.peak_memory_mb:.0f} MB; {report.memory_before_mb:.0f} MB before.",
        highlight=False,
    )


def print_methods_report(console: Console, report: MethodsReport) -> None:
    """Print the time of each method, with its network and a matrix product for comparison."""
    print_lines(
        console,
        f"{report.machine}; {report.width}x{report.height}, batches of {report.batch}",
        f"ms per megapixel, median of {report.repeats}",
    )
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.add_column("method", overflow="fold", min_width=_METHOD_WIDTH, max_width=_METHOD_WIDTH)
    table.add_column("prec")
    for column in ("median", "spread", "pairs/s", "network", "rest", "matmul"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, group in groupby(report.timings, key=_describe_variant):
        cells = [_timing_cells(timing, report) for timing in group]
        for label, row in zip_longest(name, cells):
            table.add_row(label or "", *(row or ()))
    console.print(table)
    print_lines(console, *_legend(report))


def _describe_variant(timing: MethodTiming) -> list[str]:
    """Return the method, and each parameter for a line of its own."""
    return [timing.method, *(f"  {name}={value}" for name, value in timing.parameters.items())]


def _timing_cells(timing: MethodTiming, report: MethodsReport) -> list[str]:
    median, backbone = timing.ms_per_megapixel, timing.backbone_ms_per_megapixel
    part = _PART if _is_part(timing, report) else ""
    product = _PART if _is_reduced(timing) else ""
    return [
        timing.precision or "–",
        f"{median:.{0 if median >= 10 else 2}f}{part}",
        f"{(timing.slowest - timing.fastest) / median:.0%}",
        f"{timing.pairs_per_second:.2f}",
        "–" if backbone is None else f"{backbone:.0f}",
        "–" if timing.around_backbone is None else f"{timing.around_backbone:.2f}x",
        "–" if timing.matmul_share is None else f"{timing.matmul_share:.0%}{product}",
    ]


def _is_part(timing: MethodTiming, report: MethodsReport) -> bool:
    return (timing.width, timing.height) != (report.width, report.height)


def _is_reduced(timing: MethodTiming) -> bool:
    return timing.matrix_product is not None and timing.matrix_product.reduced


def _legend(report: MethodsReport) -> Iterator[str]:
    yield "spread: slowest less fastest, over the median; network: forward pass of the"
    yield "ImageNet network alone; rest: all else as a multiple of that; matmul: rate of"
    yield "the convolutions over that of a large matrix product. --json has all numbers."
    parts = [f"{t.width}x{t.height}" for t in report.timings if _is_part(t, report)]
    sides = [t.matrix_product.side for t in report.timings if t.matrix_product and _is_reduced(t)]
    if parts:
        sizes = ", ".join(dict.fromkeys(parts))
        yield f"{_PART} with a part of the images, to limit the time: {sizes}"
    if sides:
        products = ", ".join(f"{side}x{side}" for side in dict.fromkeys(sides))
        yield f"{_PART} with a smaller matrix product, to limit the time: {products}"


def print_training_report(console: Console, report: TrainingReport) -> None:
    """Print the training speed of each network."""
    title = (
        f"{report.machine}; {report.crop}x{report.crop}, {report.precision}, workers: "
        f"{report.workers}, {report.iterations} steps"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for column in ("batch", "steps/s", "outside forward and backward"):
        table.add_column(column, justify="right")
    for timing in report.timings:
        table.add_row(
            timing.method,
            str(timing.batch),
            f"{timing.steps_per_second:.2f}",
            f"{timing.share_outside_passes:.1%}",
        )
    console.print(table)


def print_feeding_report(console: Console, report: FeedingReport) -> None:
    """Print how busy the device was, and the CPU time of each stage."""
    print_lines(
        console,
        f"{report.machine}, {report.cores} cores",
        f"{report.timings[0].step_ms:g} ms per pair on the device; files in {report.location}",
    )
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.add_column("images", no_wrap=True)
    stages = list(report.timings[0].stage_cpu_ms)
    for column in ("pairs/s", "busy", "cores", "CPU ms", *stages):
        table.add_column(column, justify="right", no_wrap=True)
    for timing in report.timings:
        table.add_row(
            timing.images,
            f"{timing.pairs_per_second:.0f}",
            f"{timing.busy:.0%}",
            f"{timing.cores_for_one_device:.1f}",
            f"{timing.cpu_ms:.2f}",
            *(f"{timing.stage_cpu_ms[stage]:.2f}" for stage in stages),
        )
    console.print(table)
    print_lines(
        console,
        "busy: share of the time in which the device computes; cores: what feeding a",
        "device that never waits takes; CPU ms: CPU time of a pair, and of its stages.",
    )
