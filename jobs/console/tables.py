"""Tables of results and status, and of the available methods and metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.console.printing import printable

if TYPE_CHECKING:
    from fusion_core.statistics import Statistics
    from jobs.execution import RunResult
    from jobs.options import (
        DemoOptions,
        LocationOptions,
        PairsOptions,
        ReconstructOptions,
        StatusOptions,
        SummarizeOptions,
        TrainOptions,
        VerifyOptions,
    )
    from jobs.pairs import PairsResult
    from jobs.reconstruct import ReconstructionReport
    from jobs.status import Status
    from jobs.summary import Summary
    from jobs.train import TrainResult
    from jobs.verify import Verification

_MOST_SINGLES = 5
_STATISTICS = ("mean", "ci-95", "ci+95", "std", "min", "q25", "median", "q75", "max")


def print_run(console: Console, result: RunResult, options: LocationOptions) -> None:
    """Print the statistics of a run and the locations of its files."""
    _print_summary(console, result.summary)
    _print_lines(
        console,
        f"{result.rows - result.failed} pairs ok, {result.failed} failed, "
        f"{result.computed} newly computed.",
        f"Shards:  {result.out}/shards",
        f"Summary: {result.out}/summary.json and summary.csv",
    )


def print_demo(console: Console, result: RunResult, options: DemoOptions) -> None:
    """Print the statistics of the demo and where everything is."""
    print_run(console, result, options)
    _print_lines(console, f"Pairs:   {options.folder}/source")


def print_pairs(console: Console, result: PairsResult, options: PairsOptions) -> None:
    """Print the pairs per layout, the images without a partner, and what was ignored."""
    discovery = result.discovery
    table = Table(title="Pairs found", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for layout, count in discovery.matched.items():
        table.add_row(f"pairs by layout: {layout}", str(count))
    table.add_row("images without a partner", str(len(discovery.single)))
    for reason, count in discovery.ignored.items():
        table.add_row(f"ignored: {reason}", str(count))
    console.print(table)
    for key in discovery.single[:_MOST_SINGLES]:
        _print_lines(console, f"  without a partner: {key}")
    if len(discovery.single) > _MOST_SINGLES:
        _print_lines(console, f"  … and {len(discovery.single) - _MOST_SINGLES} more")
    for key, reason in discovery.skipped.items():
        _print_lines(console, f"  not read: {key} ({reason})")
    _print_lines(console, f"{result.rows} pairs written to {options.output}")


def print_training(console: Console, result: TrainResult, options: TrainOptions) -> None:
    """Print the losses of a training and the locations of its files."""
    losses = ", ".join(f"{name} {loss:.5g}" for name, loss in result.card["losses"].items())
    _print_lines(
        console,
        f"{result.steps} steps, {result.computed} newly computed; final losses: {losses}",
        f"Weights: {result.weights}",
        f"Curves:  {result.out}/curves.png and curves.parquet",
    )


def print_summaries(
    console: Console, summaries: Sequence[Summary], options: SummarizeOptions
) -> None:
    """Print the statistics of several runs as tables, JSON or CSV."""
    if options.json_output:
        print(json.dumps([summary.model_dump() for summary in summaries], indent=2))
    elif options.csv_output:
        from jobs.summary import summary_csv

        print(summary_csv(summaries), end="")
    else:
        for summary in summaries:
            _print_summary(console, summary)


def _print_summary(console: Console, summary: Summary) -> None:
    """Print the counts of every subset and, metric by metric, the statistics."""
    for part in summary.subsets:
        pairs = part.count if part.count == part.total else f"{part.count} of {part.total}"
        title = f"{summary.run}, {part.subset or 'no subset'}: {pairs} pairs, {part.failed} failed"
        table = Table(
            title=Text(printable(title)), title_justify="left", box=HEAVY_HEAD, show_edge=False,
            padding=0, collapse_padding=True, pad_edge=False,
        )  # fmt: skip
        table.add_column("metric")
        good = part.count - part.failed
        for name in _STATISTICS:
            table.add_column(name, justify="right")
        for name, statistics in part.metrics.items():
            some = "" if statistics.count == good else f" (n={statistics.count})"
            table.add_row(f"{name}{_arrow(name)}{some}", *_cells(statistics))
        console.print(table)
    if not summary.complete:
        _print_lines(
            console,
            f"{summary.run} is unfinished: {summary.rows} of {summary.total_rows} pairs have a row",
        )


def _print_lines(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _arrow(metric_name: str) -> str:
    from fusion_core.metrics import METRICS

    metric = METRICS.get(metric_name)
    return "" if metric is None else "↑" if metric.higher_is_better else "↓"


def _cells(statistics: Statistics) -> list[str]:
    s = statistics
    numbers = (s.mean, s.ci_low, s.ci_high, s.std, s.min, s.q25, s.median, s.q75, s.max)
    return ["–" if number is None else f"{number:.3f}" for number in numbers]


def print_status(console: Console, status: Status, options: StatusOptions) -> None:
    """Print the progress of a run, and the reasons of the first failed pairs."""
    if options.json_output:
        print(status.model_dump_json(indent=2, ensure_ascii=True))
        return
    rate = status.pairs_per_second
    lines = {
        "out": status.out,
        "collection": status.collection,
        "run": status.run,
        "shards": f"{status.shards_done} of {status.shards} done",
        "pairs": f"{status.ok} ok, {status.failed} failed, "
        f"{status.rows_left} of {status.rows} remaining",
        "failed at": ", ".join(f"{s}: {n}" for s, n in status.failed_stages.items()) or "–",
        "speed": "–" if rate is None else f"{rate:.2f} pairs/s while shards were in progress",
    }
    _print_lines(console, *(f"{name:>10}  {text}" for name, text in lines.items()))
    _print_lines(
        console,
        *(f"    failed  {f.pair_id}: at {f.stage}: {f.message}" for f in status.failures),
        *(
            f"   damaged  shard {d.shard}: {d.reason}; run the same command again with --verify"
            for d in status.damaged_shards
        ),
    )


def print_verification(console: Console, found: Verification, options: VerifyOptions) -> None:
    """Print the result of a verification.

    Raises:
        DamagedRunError: Shards are damaged.
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
        _print_lines(console, *lines)
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
        _print_lines(
            console, f"{report.failed} images failed; see the reasons in the table of rows"
        )
    _print_lines(console, f"Rows: {report.output}")
