"""Start of Ray while a job is planned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.runs import RUN_KEY
from cluster.session import early_start
from fusion_core.errors import StorageError
from jobs.options import JobOptions


@contextmanager
def ray_ahead(options: JobOptions) -> Iterator[None]:
    """Start Ray in the background if there is no run at OUT yet; a finished one needs no Ray.

    Large packages should be imported inside the block.

    Args:
        options: Options of the job that is planned and executed in the block.
    """

    def needed() -> bool:
        try:
            return not options.store(options.out).exists(RUN_KEY)
        except StorageError:
            return False  # the job raises it, too

    with early_start(options.cluster(), needed):
        yield
