"""The statistics of runs: a short comparison, full tables, JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion_core.wording import count_of
from jobs.comparison import compare
from jobs.console.comparison_table import print_comparison
from jobs.console.markup import comparison_latex, comparison_markdown
from jobs.console.printing import print_lines, printable
from jobs.metric_text import metric_heading, value_text
from jobs.summary import Summary, summary_csv, summary_records

if TYPE_CHECKING:
    from fusion_core.statistics import Statistics
    from jobs.options import SummarizeOptions

_STATISTICS = ("mean", "ci-95", "ci+95", "std", "min", "q25", "median", "q75", "max")


def print_summaries(
    console: Console, summaries: Sequence[Summary], options: SummarizeOptions
) -> None:
    """Print the statistics of several runs in the form that was requested."""
    if options.json_output:
        print(json.dumps(summary_records(summaries), indent=2))
    elif options.csv_output:
        print(summary_csv(summaries), end="")
    elif options.markdown or options.latex:
        markup = comparison_latex if options.latex else comparison_markdown
        print("\n".join(map(markup, compare(summaries, _labels(summaries, options.outs)))))
    elif options.full:
        for summary in summaries:
            _print_full(console, summary)
    else:
        print_short(console, summaries, _labels(summaries, options.outs))


def print_short(
    console: Console, summaries: Sequence[Summary], labels: Sequence[str] | None = None
) -> None:
    """Print one table per collection, with runs as rows and metrics as columns."""
    for number, comparison in enumerate(compare(summaries, labels)):
        if number:
            console.print()
        print_comparison(console, comparison)


def _labels(summaries: Sequence[Summary], outs: Sequence[str]) -> list[str]:
    """Return the names of the runs, with their location where names are equal."""
    counts = Counter((summary.collection, summary.run) for summary in summaries)
    return [
        summary.run if counts[summary.collection, summary.run] == 1 else f"{summary.run} ({out})"
        for summary, out in zip(summaries, outs, strict=True)
    ]


def _print_full(console: Console, summary: Summary) -> None:
    """Print the counts of every subset and, metric by metric, the statistics."""
    for part in summary.subsets:
        some = "" if part.count == part.total else f"{part.count} of "
        name = f"{summary.collection}, {summary.run}, {part.subset or '(no subset)'}"
        title = f"{name}: {some}{count_of(part.total, 'pair')}, {part.failed} failed"
        table = Table(
            title=Text(printable(title)), title_justify="left", box=HEAVY_HEAD, show_edge=False,
            padding=0, collapse_padding=True, pad_edge=False,
        )  # fmt: skip
        table.add_column("metric", overflow="fold")
        good = part.count - part.failed
        for name in _STATISTICS:
            table.add_column(name, justify="right")
        for name, statistics in part.metrics.items():
            some = "" if statistics.count == good else f" (n={statistics.count})"
            table.add_row(f"{metric_heading(name)}{some}", *_cells(name, statistics))
        console.print(table)
    if not summary.complete:
        print_lines(
            console,
            f"{summary.run} is unfinished: {summary.rows} of {summary.total_rows} pairs have a row",
        )


def _cells(metric_name: str, statistics: Statistics) -> list[str]:
    s = statistics
    numbers = (s.mean, s.ci_low, s.ci_high, s.std, s.min, s.q25, s.median, s.q75, s.max)
    return [value_text(metric_name, number) for number in numbers]
