"""Compute the cells of a study in one Ray session, and its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pydantic import BaseModel

from cluster.runs import share_sources
from cluster.session import ray_session
from fusion_core.errors import InvalidValueError, IrfuseError
from jobs.execution import PlannedRun, compute
from jobs.fusing import plan_fusing
from jobs.options import RunOptions
from jobs.progress import Progress, SilentProgress
from jobs.scoring import plan_scoring
from jobs.study.cells import (
    Cell,
    CellStatus,
    describe_cells,
    note_problems,
    options_of,
)
from jobs.study.options import StudyReportOptions, StudyRunOptions
from jobs.study.plan import StudyPlan, plan_study
from jobs.study.record import StudyRecord, save_study
from jobs.study.report import StudyReport, report_study


class StudyResult(BaseModel):
    """Result of `irfuse study run`."""

    out: str
    cells: list[CellStatus]
    """All cells of the study, in the sequence of its methods."""
    report: StudyReport | None = None
    """The comparison; None if no cell is finished."""


def run_study(options: StudyRunOptions, progress: Progress | None = None) -> StudyResult:
    """Run every method of a study on every collection, and compare them.

    Every cell is a run of its own. All are computed in one Ray session by the same workers, method
    by method, and existing fused images of the same pairs together. A cell that cannot be computed
    does not stop the others. Run the same command again to resume.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Returns:
        How far every cell is, and the comparison.

    Raises:
        InvalidValueError: The study file or an option is invalid, or the options ask for a dry run.
        RunConflictError: The output location holds a study that says something else about a
            collection, a method or the metrics.
        StorageError: A location cannot be read or written.
    """
    if options.dry_run:
        raise InvalidValueError(
            "dry_run is for the command line; call irfuse.dry_run_study(options)"
        )
    progress = progress or SilentProgress()
    plan = plan_study(options)
    save_study(plan.out, plan.found, plan.record)
    _compute(plan, options, progress)
    states = describe_cells(plan.out, plan.record)
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
    return StudyResult(out=plan.out.url, cells=states, report=report)


def _compute(plan: StudyPlan, options: StudyRunOptions, progress: Progress) -> None:
    """Compute all cells; what stops one is noted and does not stop the others."""
    problems: dict[str, str] = {}

    @contextmanager
    def noted(*stopped: Cell) -> Iterator[None]:
        try:
            yield
        except IrfuseError as error:
            for cell in stopped:
                problems[cell.key] = str(error)
                progress.note(f"{cell.label} on {cell.collection} cannot be computed: {error}")

    with ExitStack() as session:
        workers = None
        if plan.unfinished(retry_failed=options.retry_failed):
            session.enter_context(ray_session(options.cluster(), progress.message))
            # Imported here because a finished study does not need Ray, whose import takes seconds.
            from cluster.runs import kept_workers

            workers = session.enter_context(kept_workers(options.cluster(), progress.message))
        for group in _groups(plan.record, plan.cells):
            planned: list[tuple[Cell, PlannedRun]] = []
            with _ended(planned):
                for cell in group:
                    with noted(cell):
                        planned.append((cell, _plan(plan.record, cell, options, progress)))
                for together in _sharing(planned):
                    some = [cell for cell, _ in together]
                    progress.note(f"{', '.join(c.label for c in some)} on {some[0].collection}")
                    with noted(*some):
                        compute([run for _, run in together], progress, workers)
                for cell, run in planned:
                    if cell.key not in problems:
                        with noted(cell):
                            run.finish(progress)
    note_problems(plan.out, plan.cells, problems)


@contextmanager
def _ended(planned: Sequence[tuple[Cell, PlannedRun]]) -> Iterator[None]:
    """Note the end of all runs if the block is interrupted."""
    try:
        yield
    except BaseException as error:
        for _, run in planned:
            run.failed(error)
        raise


def _groups(record: StudyRecord, cells: Sequence[Cell]) -> Iterable[list[Cell]]:
    """Return the cells of a method one by one, and existing fused images by collection."""
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        fused = record.methods[cell.label].fused is not None
        groups.setdefault(cell.collection if fused else cell, []).append(cell)
    return groups.values()


def _plan(
    record: StudyRecord, cell: Cell, options: StudyRunOptions, progress: Progress
) -> PlannedRun:
    requested = options_of(record, cell, options)
    if isinstance(requested, RunOptions):
        return PlannedRun(plan_fusing(requested, progress), progress)
    return PlannedRun(plan_scoring(requested), progress)


def _sharing(planned: Sequence[tuple[Cell, PlannedRun]]) -> list[list[tuple[Cell, PlannedRun]]]:
    """Put runs together that score fused images of the same pairs."""
    groups: list[list[tuple[Cell, PlannedRun]]] = []
    for cell, run in planned:
        for group in groups:
            if share_sources(group[0][1].target, run.target):
                group.append((cell, run))
                break
        else:
            groups.append([(cell, run)])
    return groups
