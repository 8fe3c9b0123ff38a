"""Score existing fused images."""

from __future__ import annotations

from cluster.collections import FusedImages, match_late, require_fused
from cluster.runs import FilesOrigin
from cluster.storage import Store, redact
from jobs.execution import Job, RunResult, execute
from jobs.options import ScoreOptions
from jobs.progress import Progress


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
    fused = options.fused
    origin = FilesOrigin(
        method=options.name,
        fused=None if fused is None else redact(fused),
        sixteen_bit=options.sixteen_bit,
    )
    if fused is None:
        return execute(Job(options, origin, options.name, complete=require_fused), progress)
    return execute(
        Job(
            options,
            origin,
            options.name,
            complete=lambda read: FusedImages(options.store(fused)).add_to(read),
            before_retry=lambda out, progress: _match_again(options.store(fused), out, progress),
        ),
        progress,
    )


def _match_again(fused: Store, out: Store, progress: Progress) -> None:
    """Look for fused images that were made after the run began."""
    missing, found = match_late(out, FusedImages(fused))
    if missing:
        progress.note(f"{found} of {missing} pairs without a fused image have one now")
