"""Execution of a run of fusing or scoring: plan or resume, compute, and summarize."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from cluster.collections import (
    MANIFEST_KEY,
    FrozenInfo,
    collection_name,
    freeze,
)
from cluster.runs import (
    SHARDS_PREFIX,
    AnyOrigin,
    Damage,
    DamagedRunError,
    Ledger,
    Payload,
    RunRecord,
    RunTarget,
    ShardReport,
    ShardTask,
    WorkerConfig,
    WorkerPool,
    default_shard_size,
    describe_damages,
    row_schema,
)
from cluster.session import installed_software, ray_session
from cluster.storage import Store, claim_location, find_record, redact
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.extensions import MetricChoice, MetricRecord, choose_metrics
from fusion_core.metrics import identify_measure, measures_among
from jobs.options import JobOptions
from jobs.preview import PREVIEW_KEY, Preview, update_preview
from jobs.progress import Progress, SilentProgress, note_changed_code
from jobs.sources import (
    Batches,
    describe_rest,
    identify_source,
    open_source,
    pairing_of,
    selection_of,
)
from jobs.summarize import update_summary
from jobs.summary import Summary
from jobs.summary_files import delete_summary, find_summary

_ROWS_BEFORE_STOPPING = 200
"""Minimum number of rows until a run stops early because too many pairs fail."""
_MOST_REPAIRS = 2
"""Number of times that damaged shards are computed again until the run fails."""
_RECORDED_PACKAGES = ("numpy", "pillow", "pyarrow", "ray")


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


@dataclass(frozen=True)
class Job:
    """A requested run: the options, and the settings that depend on the origin of fused images."""

    options: JobOptions
    origin: AnyOrigin
    name: str
    """Name of the run, the value of the `run` column."""
    payload: Payload = field(default_factory=Payload)
    """Weights, and code of the user's own, which workers load."""
    complete: Callable[[Callable[[], Batches]], Batches] = lambda read: read()
    """Function that adds the columns to the manifest that the origin requires; it takes a function
    that reads the manifest from the beginning."""
    reference: bool = False
    """Whether there are reference images."""
    check_sources: Callable[[int], None] = lambda count: None
    """Function that raises an error if so many sources cannot be fused."""
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Further objects to write next to the record, by their keys."""
    before_retry: Callable[[Store, Progress], None] = lambda out, progress: None
    """Function that is called before failed rows are computed again."""


def execute(job: Job, progress: Progress | None = None) -> RunResult:
    """Compute the missing shards of a run and its summary.

    Raises:
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        RunFailedError: Workers cannot be placed, or too many pairs fail.
        StorageError: A location cannot be read or written.
    """
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
        _check_columns(metrics)
        code = tuple(found.extension for found in metrics.own.values())
        self.payload = replace(job.payload, metrics=code)
        self.record = _plan(job, metrics, self._out, progress)
        self._ledger, self._computed = Ledger(self._out, self.record), 0
        self.remaining = _find_remaining(
            self._ledger, self.record, retry_failed=options.retry_failed, verify=options.verify
        )

    @property
    def target(self) -> RunTarget:
        """Where its shards are committed."""
        return RunTarget(self.record, self._out)

    def begin(self, progress: Progress) -> None:
        """Prepare the output location for the shards that remain."""
        if self.remaining.damages:
            damages = describe_damages(self.remaining.damages)
            progress.message(f"{damages}: computing the rows again")
        if self.options.retry_failed:
            self._job.before_retry(self._out, progress)
        for folder in ("", SHARDS_PREFIX):
            self._out.remove_stale_temporaries(folder)
        delete_summary(self._out)  # it would be out of date, and the picture, too
        self._out.delete(PREVIEW_KEY)

    def end(self) -> None:
        """Note that the shards that remained are computed."""
        self._computed += self.remaining.rows

    def finish(self, progress: Progress) -> RunResult:
        """Summarize the run, after computing damaged shards again.

        Raises:
            RunFailedError: Rows are missing, or too many pairs failed.
            StorageError: The location cannot be read or written.
        """
        for repairs_left in reversed(range(_MOST_REPAIRS + 1)):
            try:
                summary = _summarize(self._out, self.record, self._ledger, progress)
                break
            except DamagedRunError as error:
                if not repairs_left:
                    raise
                self.remaining = _find_remaining(self._ledger, self.record, damages=error.damages)
                compute([self], progress)
        preview = update_preview(self._out, self.record, outdated=self._computed > 0)
        _check_outcome(self._out, summary, self.options.max_failure_rate)
        return RunResult(
            self._out.url, summary.rows, summary.failed, self._computed, summary, preview
        )


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
    first, *others = todo
    progress.planned(
        sum(run.record.rows for run in todo),
        sum(run.remaining.rows for run in todo),
        sum(run.remaining.finished for run in todo),
        sum(run.record.plan.count for run in todo),
    )
    for run in todo:
        run.begin(progress)
    companions = tuple(run.target for run in others)
    config = WorkerConfig(first.record, first.target.out, first.payload, companions=companions)
    checks = [_stop_when_failing(run.options) for run in todo]
    cluster = first.options.cluster()
    with ray_session(cluster, progress.message):
        # Imported here because a finished run does not need Ray, whose import takes seconds.
        from cluster.runs import run_shards

        run_shards(
            _joined([run.remaining.tasks for run in todo]),
            config,
            cluster,
            on_commit=lambda report: checks[report.run](report),
            on_progress=progress.update,
            pool=workers,
        )
    for run in todo:
        run.end()


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
        summary = update_summary(out, record)
    return summary


def _check_columns(metrics: MetricChoice) -> None:
    columns = row_schema(()).names
    for name in metrics.own:
        if name in columns:
            raise InvalidValueError(
                f"The metric {name} has the name of another column; give it another one, as in "
                "@irfuse.metric(name=…)"
            )


def _identify_measures(metrics: list[str], progress: Progress) -> dict[str, dict[str, str]]:
    """Load the measures of other libraries, whose weights may be downloaded, before the run."""
    found = {}
    for measure in measures_among(metrics):
        progress.message(f"Loading {measure.requested}")
        found[measure.column] = identify_measure(measure)
    return found


def _plan(job: Job, metrics: MetricChoice, out: Store, progress: Progress) -> RunRecord:
    """Create the record of the run, or check that an existing one has the same settings."""
    options = job.options
    bands = options.bands
    measures = _identify_measures(metrics.names, progress)
    found = find_record(out, RunRecord)
    manifest: bytes | None = None
    source, sha256 = identify_source(options)
    pairing, selection = pairing_of(options), selection_of(options)
    if found is not None:  # a conflict is reported before a large source is listed
        claim_location(
            out, found.model_copy(update={"pairing": pairing, "selection": selection}), found
        )
    if found is not None and _is_frozen(job, source, sha256, found, out):
        info = FrozenInfo(found.rows, found.manifest_digest, found.sources - 2)
    else:
        progress.message(f"Looking for pairs in {redact(options.source)}")
        info, manifest = freeze(_batches(job, progress))
    job.check_sources(2 + info.further)
    shard_size = options.shard_size or (
        found.shard_size if found else default_shard_size(info.rows)
    )
    requested = RunRecord(
        name=job.name,
        collection=_name_collection(options, source, found),
        source=source,
        source_sha256=sha256,
        pairing=pairing,
        selection=selection,
        origin=job.origin,
        metrics=metrics.names,
        own_metrics={name: MetricRecord.of(found) for name, found in metrics.own.items()},
        measures=measures,
        channels=metrics.channels,
        max_pixels=options.max_pixels,
        bands=bands,
        resize=options.resize,
        shard_size=shard_size,
        rows=info.rows,
        sources=2 + info.further,
        manifest_digest=info.digest,
        irfuse_version=version("irfuse"),
        torch_version=version("torch"),
        code_sha256=installed_software().code_sha256,
        environment={
            "python": platform.python_version(),
            **{name: version(name) for name in _RECORDED_PACKAGES},
        },
    )
    record = claim_location(out, requested, found)
    note_changed_code(record, requested, progress)
    for key, content in job.documents.items():
        out.write(key, content)
    # Written after run.json, which only one of several drivers can create.
    if manifest is not None and not out.exists(MANIFEST_KEY):
        out.write(MANIFEST_KEY, manifest)
    return record


def _name_collection(options: JobOptions, source: str, found: RunRecord | None) -> str:
    """Return the requested name, that of the run to resume, or the source's own name."""
    return options.collection or (found.collection if found else collection_name(source))


def _is_frozen(job: Job, source: str, sha256: str | None, found: RunRecord, out: Store) -> bool:
    """Whether the frozen manifest of the run can be used instead of the source.

    A folder is listed once, at the start of a run; files that are added later are not part of it.
    A manifest file is read again if it has been changed.
    """
    existing = found.source, found.source_sha256, found.origin.added_locations
    return existing == (source, sha256, job.origin.added_locations) and out.exists(MANIFEST_KEY)


def _batches(job: Job, progress: Progress) -> Batches:
    source = open_source(job.options)
    for sentence in describe_rest(source, job.options):
        progress.note(sentence)
    return job.complete(source.read)


@dataclass(frozen=True, slots=True)
class _Remaining:
    """The shards of a run that remain to be computed."""

    tasks: list[ShardTask]
    rows: int
    finished: int
    """Number of finished shards that are left unchanged."""
    damages: Sequence[Damage]
    """The damaged ones among them."""


def _find_remaining(
    ledger: Ledger,
    record: RunRecord,
    *,
    retry_failed: bool = False,
    verify: bool = False,
    damages: Sequence[Damage] = (),
) -> _Remaining:
    """Return the shards without an object, the damaged ones, and those with rows to retry."""
    listing, damages = ledger.listing(), list(damages)
    failed: dict[int, int] = {}
    if retry_failed or verify:
        contents = (
            ledger.verify(listing, damages.append)
            if verify
            else ledger.contents(listing=listing, on_damage=damages.append)
        )
        for content in contents:
            if retry_failed and content.facts.failed:
                failed[content.shard] = content.facts.failed
    damaged = {damage.shard for damage in damages}
    whole = [n for n in range(record.plan.count) if n in damaged or n not in listing.shards]
    bounds = [record.plan.bounds(shard) for shard in whole]
    tasks = [ShardTask(shard) for shard in whole]
    tasks += [ShardTask(shard, failed_only=True) for shard in failed]
    rows = sum(end - first for first, end in bounds) + sum(failed.values())
    return _Remaining(tasks, rows, record.plan.count - len(tasks), damages)


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
