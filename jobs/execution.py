"""The job: plan or resume a run, compute what is missing, and sum it up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from cluster.collections.discovery import manifest_batches
from cluster.collections.frozen_manifest import MANIFEST_KEY, FrozenInfo, freeze
from cluster.collections.fused_images import FusedImages, require_fused
from cluster.collections.user_manifest import is_manifest
from cluster.runs.ledger import Ledger
from cluster.runs.plan import default_shard_size
from cluster.runs.record import RUN_KEY, RunRecord, check_same_run, find_run, read_run
from cluster.runs.stages import WorkerConfig
from cluster.runs.worker import ShardReport, ShardTask
from cluster.session.ray_session import ClusterOptions, ray_session
from cluster.storage.locations import redact
from cluster.storage.reader import split_object_url
from cluster.storage.store import Store
from cluster.storage.weights import find_stored_weights
from fusion_core.errors import RunFailedError
from fusion_core.methods import build_method, get_method
from fusion_core.metrics import select_metrics
from fusion_core.networks.weights import Weights
from jobs.console.progress import Progress, SilentProgress
from jobs.options import JobOptions, RunOptions, ScoreOptions
from jobs.summarize import SUMMARY_KEY, Summary, find_summary, summarize_run, write_summary

_ROWS_BEFORE_STOPPING = 200
"""A run stops early for failing wholesale only after this many rows."""
_INFORMATIVE = ("numpy", "pillow", "pyarrow", "ray")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a finished job left behind."""

    out: str
    rows: int
    failed: int
    computed: int
    """Rows that this call computed; the others were there already."""
    summary: Summary


def run(options: RunOptions, progress: Progress | None = None) -> RunResult:
    """Fuse and score every pair of a collection; resumes what an earlier call left.

    Args:
        options: What to do.
        progress: Where to tell how far it is; silent by default.

    Raises:
        InvalidValueError: An unknown method, parameter or metric.
        WeightsError: The weights are missing, damaged or of another network.
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        RunFailedError: Workers cannot be had, or too many pairs fail.
        StorageError: Something cannot be read or written.
    """
    spec = get_method(options.method)
    parameters = spec.parameters.parse(options.params)
    progress = progress or SilentProgress()
    source = None if options.weights is None else str(options.weights)
    weights = find_stored_weights(
        options.method, parameters, source, options.storage_options, progress
    )
    build_method(options.method, parameters, weights)  # wrong weights are told before Ray starts
    settings = {
        "kind": "run",
        "method": options.method,
        "parameters": parameters.model_dump(),
        "weights": None if weights is None else weights.source,
        "weights_sha256": None if weights is None else weights.sha256,
        "weights_trained": None if weights is None else weights.trained,
        "keep_images": options.keep_images,
    }
    return _execute(options, settings, progress, weights=weights)


def score(options: ScoreOptions, progress: Progress | None = None) -> RunResult:
    """Score fused images made elsewhere; the same rows, resuming and errors as `run`."""
    settings = {
        "kind": "score",
        "method": options.name,
        "parameters": {"sixteen_bit": options.sixteen_bit},
        "keep_images": False,
    }
    return _execute(options, settings, progress or SilentProgress())


def _execute(
    options: JobOptions,
    settings: dict[str, Any],
    progress: Progress,
    *,
    weights: Weights | None = None,
) -> RunResult:
    out = Store(options.out, options.storage_options)
    record = _plan(options, settings, out, progress)
    ledger = Ledger(out, record)
    work = _work(ledger, record, retry_failed=options.retry_failed)
    if work.tasks:
        progress.planned(record.rows, work.rows, work.finished, record.plan.count)
        out.remove_stale_temporaries("shards")
        out.delete(SUMMARY_KEY)  # it must not outlive the shards that it was computed from
        _compute(options, record, work.tasks, weights, progress)
    summary = None if work.tasks else find_summary(out, record)
    if summary is None:
        progress.message("Summing up")
        summary = summarize_run(out, record)
        write_summary(out, summary)
    _check_outcome(out, summary, options.max_failure_rate)
    return RunResult(out.url, summary.rows, summary.failed, work.rows, summary)


def _plan(
    options: JobOptions, settings: dict[str, Any], out: Store, progress: Progress
) -> RunRecord:
    """Create the run, or find it again and make sure that it is the same."""
    found = find_run(out)
    manifest: bytes | None = None
    source, sha256 = _identify(options)
    if found is not None and _is_frozen(options, source, sha256, found, out):
        info = FrozenInfo(found.rows, found.manifest_digest)
    else:
        progress.message(f"Looking for pairs in {redact(options.source)}")
        info, manifest = freeze(_batches(options))
    shard_size = options.shard_size or (
        found.shard_size if found else default_shard_size(info.rows)
    )
    wanted = RunRecord(
        **settings,
        source=source,
        source_sha256=sha256,
        fused=_fused(options),
        metrics=select_metrics(options.metrics),
        max_pixels=options.max_pixels,
        shard_size=shard_size,
        rows=info.rows,
        manifest_digest=info.digest,
        irfuse_version=version("irfuse"),
        torch_version=version("torch"),
        environment={
            "python": platform.python_version(),
            **{name: version(name) for name in _INFORMATIVE},
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if found is None:
        created = out.create(RUN_KEY, wanted.model_dump_json(indent=2).encode())
        found = wanted if created else read_run(out)
    check_same_run(found, wanted)
    # After run.json, which only one of several drivers can create: a loser has no say.
    if manifest is not None and not out.exists(MANIFEST_KEY):
        out.write(MANIFEST_KEY, manifest)
    return found


def _is_frozen(
    options: JobOptions, source: str, sha256: str | None, found: RunRecord, out: Store
) -> bool:
    """Whether the run's own manifest stands for the source.

    A folder is listed once, at the start of a run; what was added later is not part of it. A
    manifest file is read again if it has been edited.
    """
    same = (found.source, found.source_sha256, found.fused) == (source, sha256, _fused(options))
    return same and out.exists(MANIFEST_KEY)


def _identify(options: JobOptions) -> tuple[str, str | None]:
    """Return the full URL of the source and, if it is a manifest, the digest of its bytes."""
    if not is_manifest(options.source):
        return Store(options.source, options.storage_options).url, None
    folder, name = split_object_url(options.source)
    store = Store(folder, options.storage_options)
    return redact(store.uri(name)), store.sha256(name)


def _fused(options: JobOptions) -> str | None:
    fused = options.fused if isinstance(options, ScoreOptions) else None
    return None if fused is None else redact(fused)


def _batches(options: JobOptions) -> Iterator[pa.RecordBatch]:
    batches = manifest_batches(
        options.source,
        layout=options.layout,
        allow_local_files=options.allow_local_files,
        storage_options=options.storage_options,
    )
    if not isinstance(options, ScoreOptions):
        return batches
    if options.fused is None:
        return require_fused(batches)
    return FusedImages(options.fused, options.storage_options).add_to(batches)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is left of a run."""

    tasks: list[ShardTask]
    rows: int
    finished: int
    """Shards that stay as they are."""


def _work(ledger: Ledger, record: RunRecord, *, retry_failed: bool) -> _Work:
    finished = ledger.finished()
    tasks = [ShardTask(shard) for shard in range(record.plan.count) if shard not in finished]
    bounds = [record.plan.bounds(task.shard) for task in tasks]
    rows = sum(end - first for first, end in bounds)
    if retry_failed and finished:
        for content in ledger.contents():
            failed = int(content.facts["failed"])
            if failed:
                tasks.append(ShardTask(content.shard, failed_only=True))
                rows += failed
    return _Work(tasks, rows, record.plan.count - len(tasks))


def _compute(
    options: JobOptions,
    record: RunRecord,
    tasks: list[ShardTask],
    weights: Weights | None,
    progress: Progress,
) -> None:
    cluster = ClusterOptions(
        address=options.address,
        workers=options.workers,
        device=options.device,
        pair_timeout_s=options.pair_timeout,
        start_timeout_s=options.start_timeout,
    )
    config = worker_config(
        record, Store(options.out, options.storage_options).url, weights, options.storage_options
    )
    progress.message("Starting Ray and the workers")
    with ray_session(cluster):
        # Imported here because Ray is only when there is work: a finished run answers at once.
        from cluster.runs.driver import run_shards

        run_shards(
            tasks,
            config,
            cluster,
            on_commit=_stop_when_failing(1.0 if options.retry_failed else options.max_failure_rate),
            on_progress=progress.update,
        )


def worker_config(
    record: RunRecord,
    out_url: str,
    weights: Weights | None,
    storage_options: Mapping[str, Any],
) -> WorkerConfig:
    """Return what the workers of a run are told."""
    fuses = record.kind == "run"
    return WorkerConfig(
        out_url=out_url,
        plan=record.plan,
        manifest_digest=record.manifest_digest,
        fingerprint=record.fingerprint,
        label=record.method,
        metrics=record.metrics,
        method=record.method if fuses else None,
        parameters=record.parameters if fuses else {},
        weights=weights,
        sixteen_bit=record.parameters["sixteen_bit"],
        max_pixels=record.max_pixels,
        keep_images=record.keep_images,
        storage_options=storage_options,
    )


def _stop_when_failing(max_failure_rate: float) -> Callable[[ShardReport], None]:
    """Return a callback that ends a run in which too much of what came back has failed."""
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
                f"the limit of {max_failure_rate:.0%}; see `irfuse status OUT`, and raise "
                "--max-failure-rate to go on regardless"
            )

    return check


def _check_outcome(out: Store, summary: Summary, max_failure_rate: float) -> None:
    if not summary.complete:
        raise RunFailedError(
            f"Only {summary.rows} of {summary.total_rows} pairs have a row in {out.url}: finished "
            "shards were removed from it meanwhile; run the same command again"
        )
    if summary.failed > max_failure_rate * summary.rows:
        raise RunFailedError(
            f"{summary.failed} of {summary.rows} pairs failed "
            f"({_by_stage(summary.failed_stages)}), over the limit of {max_failure_rate:.0%}; "
            "everything is committed, `irfuse status OUT` tells the reasons, and --retry-failed "
            "computes them again once they are mended"
        )


def _by_stage(stages: dict[str, int]) -> str:
    return ", ".join(f"{count} at {stage}" for stage, count in stages.items())
