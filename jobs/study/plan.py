"""What a study is to compute: its record, and the cells that were chosen."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.storage import Store
from jobs.study.cells import Cell, choose_cells, is_finished
from jobs.study.definition import check_methods, define_study
from jobs.study.options import StudyRunOptions
from jobs.study.record import StudyRecord, find_study, grow, record_of


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study that is begun or continued."""

    out: Store
    found: StudyRecord | None
    """The record in the output location, if there is one."""
    record: StudyRecord
    cells: list[Cell]
    """The cells to compute, also those that are finished."""

    def unfinished(self, *, retry_failed: bool) -> list[Cell]:
        """Return the cells without all of their shards; all cells if failed pairs are retried."""
        return [cell for cell in self.cells if retry_failed or not is_finished(self.out, cell)]


def plan_study(options: StudyRunOptions) -> StudyPlan:
    """Plan a study, without writing anything.

    Raises:
        InvalidValueError: The study file or an option is invalid.
        RunConflictError: The output location holds a study that says something else about a
            collection, a method or the metrics.
        StorageError: A location cannot be read.
    """
    study = define_study(options)
    check_methods(study, untrained=options.untrained)
    out = options.store(options.out)
    found = find_study(out)
    record = grow(found, record_of(study))
    return StudyPlan(out, found, record, choose_cells(record, options.only))
