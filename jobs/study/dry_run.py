"""A study that is only tried: the problems of all cells, and what they would take together."""

from __future__ import annotations

from contextlib import ExitStack

from pydantic import BaseModel, ConfigDict

from cluster.session import ray_session
from fusion_core.errors import IrfuseError, RunFailedError
from fusion_core.wording import count_of
from jobs.dry_run import DryRun, try_run
from jobs.estimates import Estimate, add_estimates
from jobs.options import DryRunOptions
from jobs.progress import Progress, SilentProgress
from jobs.study.cells import Cell, CellStatus, describe_cells, options_of
from jobs.study.options import StudyRunOptions
from jobs.study.plan import StudyPlan, plan_study


class CellDryRun(BaseModel):
    """What the run of a cell would do."""

    model_config = ConfigDict(frozen=True)

    collection: str
    label: str
    run: DryRun


class StudyDryRun(BaseModel):
    """What a study would do."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    cells: list[CellStatus]
    """All cells of the study, in the sequence of its methods."""
    tried: list[CellDryRun]
    """The cells that would be computed."""
    estimate: Estimate | None
    """What all of them would take, one after the other; None if no pair could be computed."""

    def require_ready(self) -> None:
        """Raise an error if a cell cannot be computed.

        Raises:
            RunFailedError: There are problems.
        """
        stopped = [cell for cell in self.tried if cell.run.problems]
        if stopped:
            raise RunFailedError(
                f"{count_of(len(stopped), 'cell')} cannot be computed; the others would be"
                if len(stopped) < len(self.tried)
                else "No cell can be computed"
            )


def dry_run_study(options: StudyRunOptions, progress: Progress | None = None) -> StudyDryRun:
    """Try the cells of a study: check everything that they need, and estimate what they take.

    Some pairs of each cell that is not finished are computed on the cluster, as by `dry_run`.
    Nothing is written, except for objects that are deleted again if `probe_write` is set.

    Args:
        options: Options of the study.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: The study file or an option is invalid.
        RunConflictError: The output location holds a study that says something else about a
            collection, a method or the metrics.
        StorageError: A location cannot be read.
    """
    progress = progress or SilentProgress()
    plan = plan_study(options)
    cells = plan.unfinished(retry_failed=options.retry_failed)
    unreachable: IrfuseError | None = None
    with ExitStack() as session:
        if cells:
            try:
                session.enter_context(ray_session(options.cluster(), progress.message))
            except IrfuseError as error:
                unreachable = error
        tried = [_try(plan, cell, options, progress, unreachable) for cell in cells]
    return StudyDryRun(
        out=plan.out.url,
        cells=describe_cells(plan.out, plan.record),
        tried=tried,
        estimate=add_estimates([c.run.estimate for c in tried if c.run.estimate is not None]),
    )


def _try(
    plan: StudyPlan,
    cell: Cell,
    options: StudyRunOptions,
    progress: Progress,
    unreachable: IrfuseError | None,
) -> CellDryRun:
    progress.message(f"Trying {cell.label} on {cell.collection}")
    given = {name: getattr(options, name) for name in DryRunOptions.model_fields}
    requested = options_of(plan.record, cell, options).model_copy(update=given)
    result = try_run(requested, progress, unreachable)
    return CellDryRun(collection=cell.collection, label=cell.label, run=result)
