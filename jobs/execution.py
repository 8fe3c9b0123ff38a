"""Execution of a run of fusing or scoring: plan or resume, compute, and summarize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cluster.runs import (
    SCORES_PREFIX,
    SHARDS_PREFIX,
    DamagedRunError,
    Ledger,
    RunRecord,
    RunTarget,
    ScorePartWriter,
    ShardReport,
    ShardTask,
    WorkerConfig,
    describe_damages,
)
from cluster.session import ray_session
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.extensions import choose_metrics
from jobs.options import JobOptions
from jobs.planning import Job, plan_run
from jobs.preview import PREVIEW_KEY, Preview, update_preview
from jobs.progress import Progress, SilentProgress
from jobs.remaining import find_remaining
from jobs.summarize import update_summary
from jobs.summary import Summary
from jobs.summary_files import delete_summary, find_summary
from jobs.watching import RunWatch, watched

if TYPE_CHECKING:
    from cluster.runs import WorkerPool

_ROWS_BEFORE_STOPPING = 200
"""Minimum number of rows until a run stops early because too many pairs fail."""
_MOST_REPAIRS = 2
"""Number of times that damaged shards are computed again until the run fails."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a finished run."""

    out: str
    rows: int
    failed: int
    computed: int
    """Number of rows that this call computed; the others existed already."""
    summary: Summary
    preview: Preview
    """Picture of some of the pairs."""
    seconds: float = 0.0
    """Time until the last of the computed rows was committed, from the start of the command after
    its pairs were listed."""
    estimated_seconds: float | None = None
    """The same time as it was estimated from the first pairs; None if the run ended before."""


def execute(job: Job, progress: Progress | None = None) -> RunResult:
    """Compute the missing shards of a run and its summary.

    Raises:
        InvalidValueError: The options ask for a dry run.
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        RunFailedError: Workers cannot be placed, or too many pairs fail.
        StorageError: A location cannot be read or written.
    """
    if job.options.dry_run:
        raise InvalidValueError("dry_run is for the command line; call irfuse.dry_run(options)")
    progress = progress or SilentProgress()
    run = PlannedRun(job, progress)
    compute([run], progress)
    return run.finish(progress)


class PlannedRun:
    """A run that was begun or is resumed; what remains of it is computed by `compute`.

    Args:
        job: The requested run.
        progress: Receives the progress.

    Raises:
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        StorageError: A location cannot be read or written.
    """

    def __init__(self, job: Job, progress: Progress) -> None:
        options = job.options
        self.options = options
        self._job = job
        self._out = options.store(options.out)
        metrics = choose_metrics(options.metrics, options.score_colour, reference=job.reference)
        code = tuple(found.extension for found in metrics.own.values())
        self.payload = replace(job.payload, metrics=code)
        self.record = plan_run(job, metrics, self._out, progress)
        self._ledger, self._computed = Ledger(self._out, self.record), 0
        self._watch: RunWatch | None = None
        self.remaining = find_remaining(
            self._ledger, self.record, retry_failed=options.retry_failed, verify=options.verify
        )

    @property
    def target(self) -> RunTarget:
        """Where its shards are committed."""
        return RunTarget(self.record, self._out)

    def begin(self, progress: Progress, number: int = 0) -> RunWatch:
        """Prepare the output location for the shards that remain, and return who watches the run.

        Args:
            progress: Receives the progress.
            number: The run among those that are computed together.
        """
        if self._watch is None:
            self._watch = RunWatch(
                self.target, self.options, self.remaining.rows, progress, number=number
            )
        if self.remaining.damages:
            damages = describe_damages(self.remaining.damages)
            progress.message(f"{damages}: computing the rows again")
        if self.options.retry_failed:
            self._job.before_retry(self._out, progress)
        for folder in ("", SHARDS_PREFIX, SCORES_PREFIX):
            self._out.remove_stale_temporaries(folder)
        delete_summary(self._out)  # it would be out of date, and the picture, too
        self._out.delete(PREVIEW_KEY)
        return self._watch

    def end(self) -> None:
        """Note that the shards that remained are computed."""
        self._computed += self.remaining.rows

    def failed(self, error: BaseException) -> None:
        """Note that the run cannot be finished."""
        if self._watch is not None:
            self._watch.end(error)
            self._watch = None

    def finish(self, progress: Progress) -> RunResult:
        """Summarize the run, after computing damaged shards again.

        Raises:
            RunFailedError: Rows are missing, or too many pairs failed.
            StorageError: The location cannot be read or written.
        """
        try:
            result = self._finish(progress)
        except BaseException as error:
            self.failed(error)
            raise
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        return result

    def _finish(self, progress: Progress) -> RunResult:
        for repairs_left in reversed(range(_MOST_REPAIRS + 1)):
            try:
                summary = _summarize(self._out, self.record, self._ledger, progress)
                break
            except DamagedRunError as error:
                if not repairs_left:
                    raise
                self.remaining = find_remaining(self._ledger, self.record, damages=error.damages)
                compute([self], progress)
        preview = update_preview(self._out, self.record, outdated=self._computed > 0)
        _check_outcome(self._out, summary, self.options.max_failure_rate)
        result = RunResult(
            self._out.url, summary.rows, summary.failed, self._computed, summary, preview
        )
        if self._watch is None:
            return result
        times = self._watch.end_estimate
        return replace(result, seconds=times.seconds, estimated_seconds=times.estimated_seconds)


def compute(
    runs: Sequence[PlannedRun], progress: Progress, workers: WorkerPool | None = None
) -> None:
    """Compute the remaining shards of one run, or of several runs that share their sources.

    Args:
        runs: One run, or runs for which `share_sources` holds.
        progress: Receives the progress.
        workers: Workers that are kept for other runs; by default workers of its own.

    Raises:
        RunFailedError: Workers cannot be placed, or too many pairs fail.
        StorageError: A location cannot be read or written.
    """
    todo = [run for run in runs if run.remaining.tasks]
    if not todo:
        return
    progress.planned(
        sum(run.record.rows for run in todo),
        sum(run.remaining.rows for run in todo),
        sum(run.remaining.finished for run in todo),
        sum(run.record.plan.count for run in todo),
    )
    try:
        _compute(todo, progress, workers)
    except BaseException as error:
        for run in todo:
            run.failed(error)
        raise
    for run in todo:
        run.end()


def _compute(runs: Sequence[PlannedRun], progress: Progress, workers: WorkerPool | None) -> None:
    watches = [run.begin(progress, number) for number, run in enumerate(runs)]
    first, *others = runs
    companions = tuple(run.target for run in others)
    config = WorkerConfig(first.record, first.target.out, first.payload, companions=companions)
    checks = [_stop_when_failing(run.options) for run in runs]
    cluster = first.options.cluster()
    with ExitStack() as session:
        session.enter_context(ray_session(cluster, progress.message))
        # Imported here because a finished run does not need Ray, whose import takes seconds.
        from cluster.runs import kept_workers, run_shards

        pool = workers or session.enter_context(kept_workers(cluster, progress.message))
        with watched(watches, cluster, progress) as observers:
            run_shards(
                _joined([run.remaining.tasks for run in runs]),
                config,
                cluster,
                pool,
                on_commit=lambda report: checks[report.run](report),
                on_progress=progress.update,
                observers=observers,
            )


def _joined(tasks: Sequence[Sequence[ShardTask]]) -> list[ShardTask]:
    """Return the tasks of several runs, with one task for a shard that several of them lack."""
    whole: dict[int, list[int]] = {}
    failed: list[ShardTask] = []
    for run, own in enumerate(tasks):
        for task in own:
            if task.failed_only:
                failed.append(replace(task, run=run))
            else:
                whole.setdefault(task.shard, []).append(run)
    joined = [
        ShardTask(shard, run=first, also=tuple(others))
        for shard, (first, *others) in sorted(whole.items())
    ]
    return joined + failed


def _summarize(out: Store, record: RunRecord, ledger: Ledger, progress: Progress) -> Summary:
    """Return the summary of the committed shards: the existing one unless it is out of date."""
    summary = find_summary(out, record, ledger.listing())
    if summary is None:
        progress.message("Computing the summary")
        with closing(ScorePartWriter(RunTarget(record, out), progress.note)) as scores:
            summary = update_summary(out, record, scores)
    return summary


def _stop_when_failing(options: JobOptions) -> Callable[[ShardReport], None]:
    """Return a callback that stops a run if too many of its pairs have failed."""
    max_failure_rate = 1.0 if options.retry_failed else options.max_failure_rate
    rows = failed = 0
    stages: dict[str, int] = {}

    def check(report: ShardReport) -> None:
        nonlocal rows, failed
        rows += report.rows
        failed += sum(report.failed.values())
        for stage, count in report.failed.items():
            stages[stage] = stages.get(stage, 0) + count
        if rows >= _ROWS_BEFORE_STOPPING and failed > max_failure_rate * rows:
            raise RunFailedError(
                f"Stopped: {failed} of the first {rows} pairs failed ({_by_stage(stages)}), over "
                f"the limit of {max_failure_rate:.0%}; `irfuse status OUT` shows the reasons, and "
                "with a higher --max-failure-rate the run continues"
            )

    return check


def _check_outcome(out: Store, summary: Summary, max_failure_rate: float) -> None:
    if not summary.complete:
        raise RunFailedError(
            f"Only {summary.rows} of {summary.total_rows} pairs have a row in {out.url}: finished "
            "shards were removed during the run; run the same command again"
        )
    if summary.failed > max_failure_rate * summary.rows:
        raise RunFailedError(
            f"{summary.failed} of {summary.rows} pairs failed "
            f"({_by_stage(summary.failed_stages)}), over the limit of {max_failure_rate:.0%}; "
            "all rows are committed, `irfuse status OUT` shows the reasons, and --retry-failed "
            "computes the failed pairs again after the causes are fixed"
        )


def _by_stage(stages: dict[str, int]) -> str:
    return ", ".join(f"{count} at {stage}" for stage, count in stages.items())
