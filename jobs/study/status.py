"""How far the cells of a study are."""

from __future__ import annotations

from pydantic import BaseModel

from cluster.storage import read_record
from jobs.progress import Progress
from jobs.study.cells import CellStatus, describe_cells
from jobs.study.options import StudyStatusOptions
from jobs.study.record import StudyRecord


class StudyStatus(BaseModel):
    """The cells of a study."""

    out: str
    collections: list[str]
    methods: list[str]
    cells: list[CellStatus]


def study_status(options: StudyStatusOptions, progress: Progress | None = None) -> StudyStatus:
    """Report which cells of the study at OUT are finished, from its shards alone.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        NotFoundError: The location contains no study.
        StorageError: The study cannot be read.
    """
    out = options.store(options.out)
    record = read_record(out, StudyRecord)
    return StudyStatus(
        out=out.url,
        collections=list(record.collections),
        methods=list(record.methods),
        cells=describe_cells(out, record),
    )
