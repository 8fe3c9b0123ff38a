"""Tables for people: what a run found, how far it is, what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.console.printing import printable

if TYPE_CHECKING:
    from cluster.collections.layouts import Discovery
    from fusion_core.methods import MethodSpec
    from fusion_core.metrics.base import Metric
    from fusion_core.statistics.description import Statistics
    from jobs.reconstruct import ReconstructionReport
    from jobs.status import Status
    from jobs.summarize import Summary

_MOST_SINGLES = 5
_STATISTICS = ("mean", "ci-95", "ci+95", "std", "min", "q25", "median", "q75", "max")


def print_discovery(console: Console, discovery: Discovery) -> None:
    """Print how many pairs each layout gave, what stayed single and what was ignored."""
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
        console.print(f"  without a partner: {printable(key)}", markup=False, highlight=False)
    if len(discovery.single) > _MOST_SINGLES:
        console.print(f"  … and {len(discovery.single) - _MOST_SINGLES} more")


def print_summary(console: Console, summaries: Iterable[Summary]) -> None:
    """Print every method's and group's counts and, metric by metric, the statistics."""
    for summary in summaries:
        method = summary.method + (" (untrained weights)" if summary.trained is False else "")
        for part in summary.groups:
            title = (
                f"{method}, {part.group or 'no group'}: {part.count} pairs, {part.failed} failed"
            )
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


def _arrow(metric_name: str) -> str:
    from fusion_core.metrics import METRICS

    metric = METRICS.get(metric_name)
    return "" if metric is None else "↑" if metric.higher_is_better else "↓"


def _cells(statistics: Statistics) -> list[str]:
    s = statistics
    numbers = (s.mean, s.ci_low, s.ci_high, s.std, s.min, s.q25, s.median, s.q75, s.max)
    return ["–" if number is None else f"{number:.3f}" for number in numbers]


def print_status(console: Console, status: Status) -> None:
    """Print how far a run is, and the first reasons of failed pairs."""
    untrained = " (untrained weights)" if status.trained is False else ""
    rate = status.pairs_per_second
    lines = {
        "run": f"{status.out}",
        "method": f"{status.method}{untrained}",
        "shards": f"{status.shards_done} of {status.shards} done",
        "pairs": f"{status.ok} ok, {status.failed} failed, "
        f"{status.rows_left} left of {status.rows}",
        "failed at": ", ".join(f"{s}: {n}" for s, n in status.failed_stages.items()) or "–",
        "speed": "–" if rate is None else f"{rate:.2f} pairs/s while shards were in work",
    }
    for name, text in lines.items():
        console.print(
            f"{name:>10}  {printable(text)}", markup=False, highlight=False, soft_wrap=True
        )
    for failure in status.failures:
        console.print(
            printable(f"    failed  {failure.pair_id}: at {failure.stage}: {failure.message}"),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def print_methods(console: Console, methods: Mapping[str, MethodSpec]) -> None:
    """Print every method with its parameters, their choices and defaults."""
    for name, spec in methods.items():
        table = Table(title=f"{name}: {spec.title}\n{spec.paper}", title_justify="left")
        for column in ("parameter", "default", "meaning"):
            table.add_column(column, no_wrap=column != "meaning")
        for field, info in spec.parameters.model_fields.items():
            meaning = " ".join((info.description or "").split())
            table.add_row(field, str(info.default), meaning)
        console.print(table)


def print_metrics(console: Console, metrics: Mapping[str, Metric]) -> None:
    """Print every metric with its direction, range, unit and paper."""
    table = Table()
    for column in ("metric", "better", "range", "unit", "meaning", "paper"):
        table.add_column(column, no_wrap=column in ("metric", "better"))
    for name, metric in metrics.items():
        better = "higher" if metric.higher_is_better else "lower"
        paper = f"{metric.paper.authors} {metric.paper.year}"
        table.add_row(name, better, metric.range, metric.unit, metric.title, paper)
    console.print(table)


def print_reconstruction(console: Console, report: ReconstructionReport) -> None:
    """Print the means over all images, and why images failed."""
    trained = "" if report.trained else " (untrained weights)"
    table = Table(
        title=f"{report.method}{trained}: {report.images - report.failed} images reconstructed",
        title_justify="left",
    )
    table.add_column("metric")
    for name in ("mean", "min", "max"):
        table.add_column(name, justify="right")
    for name, found in report.metrics.items():
        table.add_row(name, *(f"{value:.5f}" for value in (found.mean, found.min, found.max)))
    console.print(table)
    if report.failed:
        console.print(f"{report.failed} images failed; the table says why", highlight=False)
    console.print(
        f"Rows: {printable(report.output)}", markup=False, highlight=False, soft_wrap=True
    )
