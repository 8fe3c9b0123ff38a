"""Score existing fused images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.ahead import ray_ahead
from jobs.options import ScoreOptions
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.execution import RunResult


def score_collection(options: ScoreOptions, progress: Progress | None = None) -> RunResult:
    """Score existing fused images against the pairs of SOURCE.

    Writes the same rows as `irfuse run`, and resumes in the same way.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A metric is unknown.
        ManifestError: The source has no pairs, or the locations of fused images are missing.
        RunConflictError: The output location holds a run with other settings.
        RunFailedError: Workers cannot be placed, or too many pairs fail.
        StorageError: A location cannot be read or written.
    """
    with ray_ahead(options):
        from jobs.execution import execute
        from jobs.scoring import plan_scoring

        return execute(plan_scoring(options), progress)
