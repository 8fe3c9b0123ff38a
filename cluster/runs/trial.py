"""A trial of a run on its cluster: one worker computes some pairs, and nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from fusion_core.errors import IrfuseError, RunFailedError

_POLL_S = 0.5
_PARTS = 2
"""A worker computes two shards at the same time."""


def try_pairs(
    pairs: Sequence[PairRow],
    config: WorkerConfig,
    options: ClusterOptions,
    notify: Callable[[str], None],
) -> Sample:
    """Compute pairs by one worker on the connected cluster, and measure what that takes.

    Args:
        pairs: The pairs, at least one.
        config: Settings of the worker.
        options: The cluster and the resources to use.
        notify: Called with what the worker is doing, until the pairs are computed.

    Raises:
        RunFailedError: The worker cannot be placed, does not start, dies or hangs.
        RunConflictError: The node of the worker has other software.
        IrfuseError: The method cannot be loaded there.
    """
    started = time.monotonic()
    pool = WorkerPool(replace(options, workers=1))
    pool.use(config)
    try:
        worker = _first_worker(pool, notify)
        notify(f"Computing {len(pairs)} pairs")
        _compute([pairs[:1]], pool, worker, options)  # compiles what is compiled at the first pair
        ready = time.monotonic()
        split = [pairs[first::_PARTS] for first in range(_PARTS)]
        parts = _compute([part for part in split if part], pool, worker, options)
        ended = time.monotonic()
        return Sample(
            pairs=len(pairs),
            seconds=ended - ready,
            start_s=ready - started,
            parts=parts,
            workers=options.workers or pool.places,
            resources=pool.resources,
            ray=pool.software[worker.info.node].ray if worker.info else "",
        )
    finally:
        pool.stop()


def _first_worker(pool: WorkerPool, notify: Callable[[str], None]) -> PoolWorker:
    """Wait until a worker is ready."""
    while True:
        check_connection()
        pool.spawn(1)
        for worker in pool.workers[:]:
            _advance(pool, worker)
        if not pool.workers:  # the last one has died, and the next one is started after a pause
            time.sleep(_POLL_S)
        if ready := pool.ready():
            return ready[0]
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
    parts: Sequence[Sequence[PairRow]],
    pool: WorkerPool,
    worker: PoolWorker,
    options: ClusterOptions,
) -> list[MeasuredPart]:
    pairs = sum(map(len, parts))
    limit = options.pair_timeout_s * (pairs + 1)
    refs: list[Any] = [worker.handle.measure.remote(list(part)) for part in parts]
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
    try:
        found: list[MeasuredPart] = ray.get(refs)
    except RayTaskError as error:
        raise _explained(error) from error
    except RayError as error:
        death = explain_death(worker, error, pool.neighbours(worker))
        raise RunFailedError(
            f"The worker died on the pairs that it tried: {death.reason}"
        ) from error
    return found


def _explained(error: RayTaskError) -> IrfuseError:
    cause = error.cause
    if isinstance(cause, IrfuseError):
        return cause
    return RunFailedError(redact_text(f"A worker failed: {type(cause).__name__}: {cause}"))
