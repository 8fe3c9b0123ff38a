"""Fuse and score every pair of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.ahead import ray_ahead
from jobs.options import RunOptions
from jobs.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from jobs.execution import RunResult


def run(options: RunOptions, progress: Progress | None = None) -> RunResult:
    """Fuse and score every pair of SOURCE with a method.

    Writes one row per pair to OUT/shards and the statistics to OUT/summary.json. Run the same
    command again to resume after any interruption.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A method, parameter or metric is unknown.
        WeightsError: The weights are missing, damaged or of another network.
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        RunFailedError: Workers cannot be placed, or too many pairs fail.
        StorageError: A location cannot be read or written.
    """
    with ray_ahead(options):
        from jobs.execution import execute
        from jobs.fusing import plan_fusing

        return execute(plan_fusing(options, progress or SilentProgress()), progress)
