"""What is printed about studies: their cells as a grid, and the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from fusion_core.errors import RunFailedError
from fusion_core.wording import bytes_of, count_of, duration_of
from jobs.console.dry_run import estimate_lines
from jobs.console.layout import print_labelled, print_list
from jobs.console.printing import print_lines
from jobs.metric_text import percent

if TYPE_CHECKING:
    from jobs.study.add import AddedRuns
    from jobs.study.cells import CellStatus
    from jobs.study.dry_run import CellDryRun, StudyDryRun
    from jobs.study.options import (
        StudyAddOptions,
        StudyReportOptions,
        StudyRunOptions,
        StudyStatusOptions,
    )
    from jobs.study.report import StudyReport
    from jobs.study.run import StudyResult
    from jobs.study.status import StudyStatus


def print_study(console: Console, result: StudyResult, options: StudyRunOptions) -> None:
    """Print how far the cells are, and the ranking.

    Raises:
        RunFailedError: Some cells could not be computed.
    """
    _print_grid(console, result.cells)
    if result.report is not None:
        print_lines(console, "")
        print_report(console, result.report, options)
    stopped = [cell for cell in result.cells if cell.problem]
    if stopped:
        reasons = "; ".join(f"{c.label} on {c.collection}: {c.problem}" for c in stopped)
        raise RunFailedError(f"{count_of(len(stopped), 'cell')} could not be computed: {reasons}")


def print_study_dry_run(console: Console, result: StudyDryRun, options: StudyRunOptions) -> None:
    """Print what the cells would take, their notes and their problems.

    Raises:
        RunFailedError: Some cells cannot be computed.
    """
    _print_grid(console, result.cells)
    print_lines(console, "")
    print_lines(console, f"A run would compute {count_of(len(result.tried), 'cell')}.")
    if result.tried:
        headings = ("method", "collection", "pairs", "time", "out")
        print_list(console, headings, [_tried_row(cell) for cell in result.tried])
        print_lines(console, "")
    if result.estimate is not None:
        for label, text in estimate_lines(result.estimate, options):
            print_labelled(console, label, text)
    for label, found in (
        ("Note", _by_text(result, "notes")),
        ("Problem", _by_text(result, "problems")),
    ):
        for text, cells in found.items():
            print_labelled(console, label, f"{', '.join(cells)}: {text}")
    print_lines(console, "Nothing was written.")
    result.require_ready()


def _tried_row(cell: CellDryRun) -> tuple[str, ...]:
    run = cell.run
    pairs = "" if run.rows is None else f"{run.rows if run.rows_left is None else run.rows_left:,}"
    found = run.estimate
    time, out = (
        ("", "") if found is None else (duration_of(found.seconds), bytes_of(found.bytes_written))
    )
    return cell.label, cell.collection, pairs, time, out


def _by_text(result: StudyDryRun, name: Literal["notes", "problems"]) -> dict[str, list[str]]:
    """Return the cells by their notes or problems, which several of them may have in common."""
    found: dict[str, list[str]] = {}
    for cell in result.tried:
        for text in getattr(cell.run, name):
            found.setdefault(text, []).append(f"{cell.label} on {cell.collection}")
    return found


def print_report(
    console: Console, report: StudyReport, options: StudyReportOptions | StudyRunOptions
) -> None:
    """Print the overall ranking of every collection, and where everything is."""
    for collection, pairs in report.n_pairs.items():
        ranked = [each for each in report.ranking if each.collection == collection]
        print_lines(console, f"{collection}: {pairs} pairs, ranks over all metrics")
        rows = [
            (
                each.label,
                f"{each.rank_mean:.2f}",
                f"{each.rank_low:.2f}–{each.rank_high:.2f}",
                percent(each.p_first),
            )
            for each in ranked
        ]
        print_list(console, ("method", "rank", "interval", "first in"), rows)
        for label in report.disqualified.get(collection, ()):
            print_lines(console, f"{label} failed for too many pairs and is not compared")
        print_lines(console, "")
    print_lines(
        console,
        f"Report:     {report.location}",
        f"Scores:     {report.out}/scores.parquet",
        f"Statistics: {report.out}/statistics",
        f"Tables:     {report.out}/tables",
        *(f"Left out:   {what}" for what in report.left_out),
    )


def print_grid(console: Console, status: StudyStatus, options: StudyStatusOptions) -> None:
    """Print the cells as methods by collections, and why cells could not be computed."""
    if options.json_output:
        print(status.model_dump_json(indent=2, ensure_ascii=True))
        return
    _print_grid(console, status.cells)
    for cell in status.cells:
        if cell.problem:
            print_lines(console, f"{cell.label} on {cell.collection}: {cell.problem}")


def print_added(console: Console, added: AddedRuns, options: StudyAddOptions) -> None:
    """Print which cells were added."""
    print_lines(
        console,
        *(f"Added {key}" for key in added.added),
        *(f"{key} was there already" for key in added.existing),
        f"`irfuse study report {added.out}` compares the methods",
    )


def _print_grid(console: Console, cells: Sequence[CellStatus]) -> None:
    collections = list(dict.fromkeys(cell.collection for cell in cells))
    texts = {(cell.label, cell.collection): cell_text(cell) for cell in cells}
    rows = [
        (label, *(texts[label, collection] for collection in collections))
        for label in dict.fromkeys(cell.label for cell in cells)
    ]
    print_list(console, ("method", *collections), rows)


def cell_text(cell: CellStatus) -> str:
    """Return how far a cell is, in a few characters."""
    if cell.state in ("not given", "not run"):
        return cell.state
    failed = f", {cell.failed} failed" if cell.failed else ""
    if cell.state == "done":
        return f"✓ {cell.ok}/{cell.rows}{failed}"
    left = cell.seconds_left
    remaining = f", {duration_of(left)} left" if left else ""
    return f"{cell.ok + cell.failed}/{cell.rows}{failed}{remaining}"
