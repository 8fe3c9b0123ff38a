"""Compute the cells of a study in one Ray session, and its report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from pydantic import BaseModel

from cluster.session import ray_session
from cluster.storage import Store
from fusion_core.errors import IrfuseError
from jobs.options import RunOptions
from jobs.progress import Progress, SilentProgress
from jobs.run import run
from jobs.score import score_collection
from jobs.study.cells import (
    Cell,
    CellStatus,
    choose_cells,
    describe_cells,
    is_finished,
    note_problems,
    options_of,
)
from jobs.study.definition import check_methods, define_study
from jobs.study.options import StudyReportOptions, StudyRunOptions
from jobs.study.record import StudyRecord, find_study, grow, record_of, save_study
from jobs.study.report import StudyReport, report_study


class StudyResult(BaseModel):
    """Result of `irfuse study run`."""

    out: str
    cells: list[CellStatus]
    """All cells of the study, in the sequence of its methods."""
    planned: list[str] | None = None
    """Keys of the cells that a run would compute, of a dry run."""
    report: StudyReport | None = None
    """The comparison; None of a dry run, or if no cell is finished."""


def run_study(options: StudyRunOptions, progress: Progress | None = None) -> StudyResult:
    """Run every method of a study on every collection, and compare them.

    Every cell is a run of its own, and all are computed in one Ray session, method by method. A
    cell that cannot be computed does not stop the others. Run the same command again to resume.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Returns:
        How far every cell is, and the comparison.

    Raises:
        InvalidValueError: The study file or an option is invalid.
        RunConflictError: The output location holds a study that says something else about a
            collection, a method or the metrics.
        StorageError: A location cannot be read or written.
    """
    progress = progress or SilentProgress()
    study = define_study(options)
    check_methods(study, untrained=options.untrained)
    out = options.store(options.out)
    found = find_study(out)
    record = grow(found, record_of(study))
    cells = choose_cells(record, options.only)
    if options.dry_run:
        todo = [cell.key for cell in cells if options.retry_failed or not is_finished(out, cell)]
        return StudyResult(out=out.url, cells=describe_cells(out, record), planned=todo)
    save_study(out, found, record)
    _compute(out, record, cells, options, progress)
    states = describe_cells(out, record)
    report = None
    if any(state.state == "done" for state in states):
        report = report_study(
            StudyReportOptions(
                out=options.out,
                storage_options=options.storage_options,
                untrained=options.untrained,
                embed=options.embed,
            ),
            progress,
        )
    return StudyResult(out=out.url, cells=states, report=report)


def _compute(
    out: Store,
    record: StudyRecord,
    cells: Sequence[Cell],
    options: StudyRunOptions,
    progress: Progress,
) -> None:
    """Compute cells one after the other; what stops one is noted and does not stop the others."""
    problems: dict[str, str] = {}
    with ExitStack() as session:
        if options.retry_failed or not all(is_finished(out, cell) for cell in cells):
            session.enter_context(ray_session(options.cluster(), progress.message))
        for number, cell in enumerate(cells, start=1):
            progress.note(f"{cell.label} on {cell.collection} ({number} of {len(cells)})")
            try:
                _compute_cell(record, cell, options, progress)
            except IrfuseError as error:
                problems[cell.key] = str(error)
                progress.note(f"{cell.label} on {cell.collection} cannot be computed: {error}")
    note_problems(out, cells, problems)


def _compute_cell(
    record: StudyRecord, cell: Cell, options: StudyRunOptions, progress: Progress
) -> None:
    requested = options_of(record, cell, options)
    if isinstance(requested, RunOptions):
        run(requested, progress)
    else:
        score_collection(requested, progress)
