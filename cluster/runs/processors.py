"""Computation of the shards of one run, or of several that share their sources.

The sources of a pair are read, decoded and analysed once for all of them. Every run has the rows
that it would have alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

from cluster.collections import PairRow
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardReport, ShardTask
from cluster.runs.origins import Fuser, Origin
from cluster.runs.pair_state import Failure, PairState
from cluster.runs.sampling import MeasuredPart
from cluster.runs.stages import PairStages, Records
from cluster.runs.telemetry import Telemetry
from cluster.runs.worker import ShardProcessor
from cluster.storage import Retry
from fusion_core.metrics import Scores


class RunProcessors:
    """Computes the shards of a run and of its companions.

    Args:
        config: Settings of the worker.
        before: What the worker has computed before, whose loaded method is used again if it is that
            of the run.
        telemetry: Where the values of metrics go; by default nowhere.
    """

    def __init__(
        self,
        config: WorkerConfig,
        before: RunProcessors | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        first, *others = config.alone()
        self._origin: Origin = config.record.origin
        self._device = config.device
        fuser = before.loaded(config) if before is not None else None
        self._runs = [ShardProcessor(first, fuser, telemetry)]
        self._runs += [ShardProcessor(other, None, telemetry) for other in others]

    def loaded(self, config: WorkerConfig) -> Fuser | None:
        """Return the loaded method, if it is that of other settings."""
        same = (self._origin, self._device) == (config.record.origin, config.device)
        return self._runs[0].stages.fuser if same else None

    @property
    def progress(self) -> tuple[int, int]:
        """Number of steps and of rows completed since the start."""
        steps, rows = zip(*(run.progress for run in self._runs), strict=True)
        return sum(steps), sum(rows)

    def settled(self) -> dict[tuple[int, int], int]:
        """Return for each run and shard in work how many pairs need not be counted again."""
        return {
            (number, shard): count
            for number, run in enumerate(self._runs)
            for shard, count in run.meter.settled().items()
        }

    def handed_back(self, task: ShardTask) -> int:
        """Forget a shard that is not computed further, and return how many pairs were counted."""
        return min(self._runs[run].meter.handed_back(task.shard) for run in (task.run, *task.also))

    def retried(self, retry: Retry) -> None:
        """Count a repeated request to the storage, for the first of the runs."""
        self._runs[0].meter.retried(retry)

    def process(self, task: ShardTask) -> list[ShardReport]:
        """Compute a shard of one or several runs, and commit it to each.

        Raises:
            HandedBack: The worker is about to be taken away.
            StorageError: A manifest cannot be read, or the shard cannot be written.
        """
        if not task.also:
            return [self._runs[task.run].process(task)]
        started = datetime.now(UTC)
        tasks = task.single()
        runs = [self._runs[single.run] for single in tasks]
        rows = [run.rows(task.shard) for run in runs]
        counters = [run.window_counter(single) for run, single in zip(runs, tasks, strict=True)]
        computed = _compute_together([run.stages for run in runs], rows, task.attempt, counters)
        return [
            run.commit(single, records, started)
            for run, single, records in zip(runs, tasks, computed, strict=True)
        ]

    def leave(self) -> None:
        """Let shards be handed back, as soon as the pairs in work are done."""
        for run in self._runs:
            run.stages.leave()

    def measure(self, pairs: Sequence[PairRow]) -> MeasuredPart:
        """Compute pairs of the first run, write nothing, and return what that took."""
        return self._runs[0].measure(pairs)

    def offsets(self, task: ShardTask) -> list[int]:
        """Return the offsets of a shard's rows that are to be computed."""
        return self._runs[task.run].offsets(task)

    def process_pair(self, task: ShardTask, offset: int, *, counted: bool = False) -> Records:
        """Compute one row of a shard without committing it."""
        return self._runs[task.run].process_pair(task, offset, counted=counted)

    def failed_row(self, task: ShardTask, offset: int, failure: Failure) -> Records:
        """Return the row of a pair that crashed its workers."""
        return self._runs[task.run].failed_row(task, offset, failure)

    def commit(self, task: ShardTask, records: Records) -> list[ShardReport]:
        """Commit a shard of one run whose rows were computed singly."""
        return [self._runs[task.run].commit(task, records)]


def _compute_together(
    stages: Sequence[PairStages],
    rows: Sequence[Mapping[int, PairRow]],
    attempt: int,
    counters: Sequence[Callable[[Sequence[PairState], Records], None]],
) -> list[Records]:
    """Compute the rows of several runs; the first one loads the sources for all of them."""
    first, *others = stages
    records: list[Records] = [{} for _ in stages]
    attempts = dict.fromkeys(rows[0], attempt)
    states = [PairState(o, row) for o, row in rows[0].items()]
    with closing(first.loader.windows(states, fused=len(stages))) as windows:
        for window in windows:
            columns = [window]
            for stage, own in zip(others, rows[1:], strict=True):
                followers = [
                    PairState(
                        state.offset, own[state.offset], state if state.ir is not None else None
                    )
                    for state in window
                ]
                stage.loader.load(followers)
                columns.append(followers)
            with first.computing:
                for pair in zip(*columns, strict=True):
                    first.check_staying()
                    _score_together(stages, pair)
                    for stage in stages:
                        stage.pairs_done += 1
            for stage, column, found, count in zip(stages, columns, records, counters, strict=True):
                finished = stage.finish(column, attempts)
                count(column, finished)
                found.update(finished)
    return records


def _score_together(stages: Sequence[PairStages], pair: Sequence[PairState]) -> None:
    """Score all fused images of one pair; if that fails, each of them alone."""
    first = pair[0]
    shared = [s for s in pair if s.failure is None and (s is first or s.sources is first)]

    def score() -> list[Scores]:
        fused = [state.fused for state in shared if state.fused is not None]
        assert first.ir is not None
        assert first.vis is not None
        return stages[0].score_fused(first.ir, first.vis, fused)

    if len(shared) > 1:
        results = stages[0].steps.run(shared, "score", score)
        for number, state in enumerate(shared):
            state.scores = results[number] if results else None
            state.failure = None
    for stage, state in zip(stages, pair, strict=True):
        if state.failure is None and state.ir is not None and state.scores is None:
            stage.score([state])
