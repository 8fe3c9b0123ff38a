"""Tables of results and status, and of the available methods and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion_core.wording import count_of, duration_of
from jobs.console.printing import print_lines
from jobs.console.summaries import print_short

if TYPE_CHECKING:
    from jobs.execution import RunResult
    from jobs.options import (
        DemoOptions,
        LocationOptions,
        ReconstructOptions,
        TrainOptions,
        VerifyOptions,
    )
    from jobs.reconstruct import ReconstructionReport
    from jobs.train import TrainResult
    from jobs.verify import Verification


_SHORTEST_TIMED_S = 60.0
"""Shortest run whose time is compared with its estimate."""


def print_run(console: Console, result: RunResult, options: LocationOptions) -> None:
    """Print the statistics of a run and the locations of its files, or the result as JSON."""
    if getattr(options, "json_output", False):
        print(TypeAdapter(type(result)).dump_json(result, ensure_ascii=True).decode())
        return
    print_short(console, [result.summary])
    preview = result.preview
    print_lines(
        console,
        f"{count_of(result.rows - result.failed, 'pair')} ok, {result.failed:,} failed, "
        f"{result.computed:,} newly computed.",
        *_time_of(result),
        f"Shards:  {result.out}/shards",
        f"Summary: {result.out}/summary.json and summary.csv",
        f"Preview: {preview.location or f'not drawn, because {preview.problem}'}",
    )


def _time_of(result: RunResult) -> Iterator[str]:
    """Yield a sentence on the time of a long run and on the estimate of it."""
    estimated = result.estimated_seconds
    if estimated is not None and result.seconds >= _SHORTEST_TIMED_S:
        deviation = round(100 * (result.seconds / estimated - 1))
        compared = f"{abs(deviation)} % {'more' if deviation > 0 else 'less'} than"
        yield (
            f"They took {duration_of(result.seconds)}, {compared if deviation else 'as'} "
            f"estimated from the first pairs ({duration_of(estimated)})."
        )


def print_demo(console: Console, result: RunResult, options: DemoOptions) -> None:
    """Print the statistics of the demo and where everything is."""
    print_run(console, result, options)
    print_lines(console, f"Pairs:   {options.folder}/source")


def print_training(console: Console, result: TrainResult, options: TrainOptions) -> None:
    """Print the losses of a training and the locations of its files."""
    losses = ", ".join(f"{name} {loss:.5g}" for name, loss in result.card["losses"].items())
    print_lines(
        console,
        f"{result.steps} steps, {result.computed} newly computed; final losses: {losses}",
        f"Weights: {result.weights}",
        f"Curves:  {result.out}/curves.png and curves.parquet",
    )


def print_verification(console: Console, found: Verification, options: VerifyOptions) -> None:
    """Print the result of a verification.

    Raises:
        DamagedRunError: Shards are damaged.
        StorageError: Compacted scores hold other rows than the shards.
    """
    if options.json_output:
        print(found.model_dump_json(indent=2, ensure_ascii=True))
    else:
        parts = [f"{found.sound} sound", f"{len(found.damaged)} damaged"]
        parts += [f"{found.missing} not computed yet"] if found.missing else []
        lines = [f"Shards of {found.run}: {', '.join(parts)}"]
        lines += [f"    damaged  shard {d.shard}: {d.reason}" for d in found.damaged]
        if not found.summary_is_current:
            lines.append("summary.json is missing or out of date; `irfuse summarize` computes it")
        lines += [f"{uri} is not used; delete it" for uri in found.unusable_scores]
        print_lines(console, *lines)
    found.check()


def print_reconstruction(
    console: Console, report: ReconstructionReport, options: ReconstructOptions
) -> None:
    """Print the means over all images, and the number of failed images."""
    if options.json_output:
        print(report.model_dump_json(indent=2, ensure_ascii=True))
        return
    mark = "" if report.trained else " [untrained]"
    table = Table(
        title=Text(f"{report.method}{mark}: {report.images - report.failed} images reconstructed"),
        title_justify="left",
    )
    table.add_column("metric")
    for name in ("mean", "min", "max"):
        table.add_column(name, justify="right")
    for name, spread in report.metrics.items():
        table.add_row(name, *(f"{value:.5f}" for value in (spread.mean, spread.min, spread.max)))
    console.print(table)
    if report.failed:
        failed = count_of(report.failed, "image")
        print_lines(console, f"{failed} failed; see the reasons in the table of rows")
    print_lines(console, f"Rows: {report.output}; {report.computed:,} newly computed")
