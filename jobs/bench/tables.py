"""Tables of the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.bench.methods_report import MethodsReport, MethodTiming
    from jobs.bench.metrics import MetricsReport
    from jobs.bench.training import TrainingReport


def print_metrics_report(console: Console, report: MetricsReport) -> None:
    """Print the time of each metric."""
    title = (
        f"{report.machine}; {report.width}x{report.height}, batches of {report.batch}, median of "
        f"{report.repeats}"
    )
    table = Table(title=title, title_justify="left")
    for column in ("metric", "s/Mpx", "fastest", "slowest", "pairs/s"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for timing in report.timings:
        table.add_row(
            timing.name,
            f"{timing.seconds_per_megapixel:.4f}",
            f"{timing.fastest:.4f}",
            f"{timing.slowest:.4f}",
            f"{timing.pairs_per_second:.1f}",
        )
    console.print(table)
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
    """Print the time of each method, with its backbone and a matrix product for comparison."""
    title = (
        f"{report.machine}; {report.width}x{report.height}, batches of {report.batch}, median of "
        f"{report.repeats}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("method", overflow="fold")
    for column in (
        "precision", "ms/Mpx", "fastest", "slowest", "backbone", "around it", "Gflop/s",
        "of matmul", "pairs/s",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for timing in report.timings:
        backbone, around = timing.backbone_ms_per_megapixel, timing.around_backbone
        parameters = " ".join(f"{name}={value}" for name, value in timing.parameters.items())
        digits = 0 if timing.ms_per_megapixel >= 10 else 2
        table.add_row(
            f"{timing.method} {parameters}".strip(),
            timing.precision or "–",
            f"{timing.ms_per_megapixel:.{digits}f}" + _measured_part(report, timing),
            f"{timing.fastest:.{digits}f}",
            f"{timing.slowest:.{digits}f}",
            "–" if backbone is None else f"{backbone:.0f}",
            "–" if around is None else f"{around:.2f}x",
            "–" if timing.gigaflops is None else f"{timing.gigaflops:.0f}",
            _matmul_share(timing),
            f"{timing.pairs_per_second:.2f}",
        )
    console.print(table)
    console.print(
        "Backbone: the forward pass of the ImageNet network alone in ms/Mpx; around it: the rest "
        "of the time as a multiple of that. Of matmul: the network's Gflop/s as a share of those "
        "of a large matrix product, measured in the same run. A size in brackets means that a "
        "part of the images or a matrix product of that size was measured to limit the time.",
        highlight=False,
        soft_wrap=True,
    )


def _measured_part(report: MethodsReport, timing: MethodTiming) -> str:
    whole = (timing.width, timing.height) == (report.width, report.height)
    return "" if whole else f" ({timing.width}x{timing.height})"


def _matmul_share(timing: MethodTiming) -> str:
    product, share = timing.matrix_product, timing.matmul_share
    if product is None or share is None:
        return "–"
    return f"{share:.0%}" + (f" ({product.side}x{product.side})" if product.reduced else "")


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
