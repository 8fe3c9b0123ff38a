"""The job of scoring: the fused images, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa

from cluster.collections import FusedImages, match_late, require_fused
from cluster.runs import FilesOrigin
from cluster.storage import Store, redact
from jobs.options import ScoreOptions
from jobs.planning import Job
from jobs.progress import Progress

Batches = Iterator[pa.RecordBatch]


def plan_scoring(options: ScoreOptions) -> Job:
    """Return the job of scoring."""
    fused, reference = options.fused, options.reference
    origin = FilesOrigin(
        method=options.name,
        fused=None if fused is None else redact(fused),
        reference=None if reference is None else redact(reference),
        sixteen_bit=options.sixteen_bit,
    )
    job = Job(
        options,
        origin,
        options.name,
        complete=lambda read: _add_images(options, read),
        reference=reference is not None,
    )
    if fused is not None:
        store = options.store(fused)
        job = replace(job, before_retry=lambda out, progress: _match_again(store, out, progress))
    return job


def _add_images(options: ScoreOptions, read: Callable[[], Batches]) -> Batches:
    """Add the columns of fused and of reference images, or check that they exist."""
    complete: Callable[[], Batches] = partial(require_fused, read)
    if options.fused is not None:
        complete = FusedImages(options.store(options.fused)).added_to(read)
    if options.reference is None:
        return complete()
    return FusedImages(options.store(options.reference), "reference").added_to(complete)()


def _match_again(fused: Store, out: Store, progress: Progress) -> None:
    """Look for fused images that were made after the run began."""
    missing, found = match_late(out, FusedImages(fused))
    if missing:
        progress.note(f"{found} of {missing} pairs without a fused image have one now")
