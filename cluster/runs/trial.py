"""A trial of a run on its cluster: workers compute some pairs, and nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from cluster.collections import PairRow
from cluster.runs.config import WorkerConfig
from cluster.runs.deaths import explain_death
from cluster.runs.pool import PoolWorker, WorkerPool
from cluster.runs.sampling import MeasuredPart, Sample
from cluster.session import ClusterOptions, check_connection
from cluster.storage import redact_text
from fusion_core.compiled.announcing import COMPILING_ONCE
from fusion_core.errors import IrfuseError, RunFailedError

_POLL_S = 0.5
_PARTS = 2
"""A worker computes two shards at the same time."""
_PAIRS_PER_WORKER = 2
"""Each worker computes at least so many pairs."""
_TOGETHER_S = 30.0
"""Workers that are ready so long after the first one are left out."""


def try_pairs(
    pairs: Sequence[PairRow],
    config: WorkerConfig,
    options: ClusterOptions,
    most: int,
    notify: Callable[[str], None],
) -> Sample:
    """Compute pairs on the connected cluster, and measure what that takes.

    Workers that share the cores or the memory of a node are slower together than one alone.
    Therefore as many workers compute at the same time as the run would have, but each of them at
    least two pairs.

    Args:
        pairs: The pairs, at least one.
        config: Settings of the workers.
        options: The cluster and the resources to use.
        most: Number of workers that the run has something to do for.
        notify: Called with what the workers are doing, until the pairs are computed.

    Raises:
        RunFailedError: No worker can be placed, or a worker does not start, dies or hangs.
        RunConflictError: The node of a worker has other software.
        IrfuseError: The method cannot be loaded there.
    """
    started = time.monotonic()
    pool = WorkerPool(options)
    pool.use(config)
    try:
        most = max(1, min(most, len(pairs) // _PAIRS_PER_WORKER))
        workers, kernels_s = _ready_workers(pool, most, notify)
        notify(f"Computing {len(pairs)} pairs")
        first = [(worker, pairs[:1]) for worker in workers]
        _compute(first, pool, options)  # compiles what is compiled at the first pair
        ready = time.monotonic()
        count = _PARTS * len(workers)
        split = [(workers[n % len(workers)], pairs[n::count]) for n in range(count)]
        parts = _compute([each for each in split if each[1]], pool, options)
        ended = time.monotonic()
        return Sample(
            pairs=len(pairs),
            seconds=ended - ready,
            start_s=ready - started - kernels_s,
            kernels_s=kernels_s,
            parts=parts,
            together=len(workers),
            workers=options.workers or pool.places,
            resources=pool.resources,
            ray=next(iter(pool.software.values())).ray,
        )
    finally:
        pool.stop()


def _ready_workers(
    pool: WorkerPool, most: int, notify: Callable[[str], None]
) -> tuple[list[PoolWorker], float]:
    """Wait until workers are ready: as many as the run would have, but no more than `most`.

    Returns them, and for how long kernels were compiled that the workers of the run will load.
    """
    first_at: float | None = None
    compiling_since: dict[PoolWorker, float] = {}
    kernels_s = 0.0
    while True:
        check_connection()
        pool.spawn(most)
        for worker in pool.workers[:]:
            if worker.info is None:
                _advance(pool, worker)
            if worker.info is None and worker.activity == COMPILING_ONCE:
                compiling_since.setdefault(worker, time.monotonic())
            elif worker.info is not None and worker in compiling_since:
                kernels_s = max(kernels_s, time.monotonic() - compiling_since.pop(worker))
        if not pool.workers:  # the last one has died, and the next one is started after a pause
            time.sleep(_POLL_S)
        if ready := pool.ready():
            first_at = first_at or time.monotonic()
            together = len(ready) == len(pool.workers)
            if together or time.monotonic() - first_at > _TOGETHER_S:
                return ready, kernels_s
        if activity := pool.describe_starting():
            notify(activity)


def _advance(pool: WorkerPool, worker: PoolWorker) -> None:
    """Wait briefly for a worker that is starting."""
    if worker.probe is None:
        worker.probe = worker.handle.progress.remote()
    refs = [ref for ref in (worker.starting, worker.probe) if ref is not None]
    done, _ = ray.wait(refs, num_returns=1, timeout=_POLL_S)
    for ref in done:
        result = _result(pool, worker, ref)
        if result is None:
            return
        if ref == worker.starting:
            pool.started(worker, result)
        else:
            worker.note_progress(result)
            time.sleep(_POLL_S / 5)


def _result(pool: WorkerPool, worker: PoolWorker, ref: Any) -> Any:  # noqa: ANN401
    """Return a result of a starting worker; None if the worker has died, and is replaced."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise _explained(error) from error
    except RayError as error:
        death = explain_death(worker, error, [])
        pool.remove(worker, death.reason, shared_memory=False)
        return None


def _compute(
    parts: Sequence[tuple[PoolWorker, Sequence[PairRow]]],
    pool: WorkerPool,
    options: ClusterOptions,
) -> list[MeasuredPart]:
    pairs = sum(len(part) for _, part in parts)
    limit = options.pair_timeout_s * (pairs + 1)
    refs: list[Any] = [worker.handle.measure.remote(list(part)) for worker, part in parts]
    deadline = time.monotonic() + limit
    waiting = refs
    while waiting:
        check_connection()
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"The {pairs} pairs that were tried took longer than {limit:.0f} s; see "
                "--pair-timeout"
            )
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
    return [_measured(pool, worker, ref) for (worker, _), ref in zip(parts, refs, strict=True)]


def _measured(pool: WorkerPool, worker: PoolWorker, ref: Any) -> MeasuredPart:  # noqa: ANN401
    try:
        found: MeasuredPart = ray.get(ref)
    except RayTaskError as error:
        raise _explained(error) from error
    except RayError as error:
        death = explain_death(worker, error, pool.neighbours(worker))
        raise RunFailedError(f"A worker died on the pairs that it tried: {death.reason}") from error
    return found


def _explained(error: RayTaskError) -> IrfuseError:
    cause = error.cause
    if isinstance(cause, IrfuseError):
        return cause
    return RunFailedError(redact_text(f"A worker failed: {type(cause).__name__}: {cause}"))
