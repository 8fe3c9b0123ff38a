"""The index of runs as a table, and the differences of two runs as lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.wording import bytes_of, count_of, time_since
from jobs.console.layout import print_columns
from jobs.console.printing import print_lines
from jobs.metric_text import UNDEFINED, percent

if TYPE_CHECKING:
    from jobs.options import RunsDiffOptions, RunsOptions
    from jobs.run_index import IndexedRun, RunDifferences, RunIndex

_LEFT = ("run", "label", "collection", "state", "version")


def print_index(console: Console, index: RunIndex, options: RunsOptions) -> None:
    """Print one line per run, and the runs that cannot be read."""
    if options.json_output:
        print(index.model_dump_json(indent=2, ensure_ascii=True))
        return
    now = datetime.now(UTC)
    rows = [_row(run, index.prefix, now) for run in index.runs]
    if rows:
        print_columns(console, rows, _LEFT)
    some = f"{len(rows)} of " if len(rows) < index.found else ""
    print_lines(console, f"{some}{count_of(index.found, 'run')} below {index.prefix}")
    print_lines(console, *(f"unreadable  {out}: {why}" for out, why in index.unreadable.items()))
    for file in (options.csv_file, options.parquet_file):
        if file is not None:
            print_lines(console, f"Table: {file}")


def print_differences(console: Console, found: RunDifferences, options: RunsDiffOptions) -> None:
    """Print the settings that differ, one per line."""
    if options.json_output:
        print(found.model_dump_json(indent=2, ensure_ascii=True))
        return
    print_lines(
        console,
        f"- {found.first}",
        f"+ {found.second}",
        *(f"{d.setting}: {d.first!r} → {d.second!r}" for d in found.differences),
        *([] if found.differences else ["All settings are equal."]),
    )


def _row(run: IndexedRun, prefix: str, now: datetime) -> Mapping[str, str]:
    return {
        "run": run.out.removeprefix(prefix).lstrip("/") or ".",
        "state": run.state,
        "done": percent(run.rows_done / run.rows),
        "pairs": f"{run.rows:,}",
        "failed": UNDEFINED if run.failed is None else f"{run.failed:,}",
        "last commit": UNDEFINED if run.last_commit is None else time_since(run.last_commit, now),
        "pairs/s": _number(run.pairs_per_second),
        "core-h": _number(run.core_hours),
        "size": bytes_of(run.size),
        "label": run.run,
        "collection": run.collection,
        "created": f"{run.created:%Y-%m-%d}",
        "version": run.version,
    }


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:,.1f}"
