"""Those who watch a run while it is computed: its attempt, its log, and its metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from cluster.runs import (
    AttemptWriter,
    ClusterResources,
    EndEstimate,
    Event,
    RunLog,
    RunObserver,
    RunTarget,
    ScorePartWriter,
    log_retries,
    run_label,
)
from cluster.session import ClusterOptions
from cluster.storage import Retry, watched_retries
from fusion_core.errors import InvalidValueError
from jobs.command_line import command_line
from jobs.progress import Progress

if TYPE_CHECKING:
    from cluster.runs import PoolWorker
    from jobs.options import JobOptions

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


class RunWatch:
    """The record of the attempt, the log, the estimated time and the scores of one run.

    Args:
        target: The run.
        options: Options of the job.
        todo: Number of rows that remain to be computed.
        progress: Receives a note if the record of the attempt, or scores, cannot be written.
        number: The run among those that are computed together.
    """

    def __init__(
        self,
        target: RunTarget,
        options: JobOptions,
        todo: int,
        progress: Progress,
        *,
        number: int,
    ) -> None:
        self.target, self.todo, self.number = target, todo, number
        self.run = run_label(target.record, target.out)
        self.attempt = AttemptWriter(
            target, todo, command_line(options), progress.note, number=number
        )
        self.log = RunLog(self.run, number)
        self.end_estimate = EndEstimate(self.run, todo, number)
        self.scores = ScorePartWriter(target, progress.note, number)
        event: Event
        if todo < target.record.rows:
            event = Event("run.resumed", self.run, rows=todo)
        else:
            event = Event("run.planned", self.run, rows=todo)
        event.emit()

    def end(self, error: BaseException | None = None) -> None:
        """Note the end of the run, and the error that ended it."""
        status, text = _status_of(error), None if error is None else str(error)
        self.attempt.end(status, text or (None if error is None else type(error).__name__))
        record = self.attempt.record
        Event(
            "run.finished",
            self.run,
            error_type=None if error is None else type(error).__name__,
            error=record.error,
            rows=record.rows,
            seconds=round(record.seconds, 3),
        ).emit(logging.INFO if error is None else logging.ERROR)


def _status_of(error: BaseException | None) -> int:
    """Return the exit status of a command that ends with an error."""
    if error is None:
        return 0
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    return _USAGE if isinstance(error, InvalidValueError) else _FAILED


class NodeWarnings(RunObserver):
    """Shows what users should know of the nodes of workers.

    Args:
        progress: Receives each warning once for each node.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown: set[str] = set()

    def worker_ready(self, worker: PoolWorker) -> None:
        """Show the warnings of a worker that are new."""
        for warning in worker.info.warnings if worker.info is not None else ():
            text = f"node {worker.node}: {warning}"
            if text not in self._shown:
                self._shown.add(text)
                self._progress.note(text)


@contextmanager
def watched(
    watches: Sequence[RunWatch], cluster: ClusterOptions, progress: Progress
) -> Iterator[list[RunObserver]]:
    """Watch runs that are computed together on the connected cluster, while the block runs.

    Yields those who are to be told what happens.
    """
    # Imported here because a finished run does not need Ray.
    from cluster.runs import RayTelemetry, RunGauges
    from cluster.session import explain_missing_agent, use_gpu

    telemetry, total = RayTelemetry(), sum(watch.todo for watch in watches)
    device: Literal["cpu", "cuda"] = "cuda" if use_gpu(cluster.device) else "cpu"
    resources = _cluster_resources()
    if missing := explain_missing_agent():
        progress.note(missing)

    def repeated(retry: Retry) -> None:
        log_retries(watches[0].run, retry)

    with ExitStack() as shown, watched_retries(repeated):
        observers: list[RunObserver] = [NodeWarnings(progress)]
        for watch in watches:
            watch.attempt.connected(resources, device)
            watch.end_estimate.begin(total)
            gauges = RunGauges(
                watch.target, watch.todo, telemetry, number=watch.number, total_todo=total
            )
            shown.enter_context(gauges.shown(device))
            observers += [gauges, watch.attempt, watch.log, watch.end_estimate, watch.scores]
        try:
            yield observers
        finally:
            for watch in watches:
                watch.attempt.left()
                watch.scores.close()


def _cluster_resources() -> ClusterResources:
    from cluster.session import node_resources, started_here

    nodes = node_resources().values()
    cpus, gpus, memory = (
        sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU", "memory")
    )
    return ClusterResources(
        nodes=len(nodes), cpus=cpus, gpus=gpus, memory_bytes=memory, local=started_here()
    )
