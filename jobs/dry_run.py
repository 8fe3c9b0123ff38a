"""A run that is only tried: all problems at once, and what the run would take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from cluster.collections import (
    MANIFEST_KEY,
    CollectionCheck,
    PairRow,
    check_pairs,
    pairs_at,
)
from cluster.runs import FilesOrigin, Ledger, RunRecord, Sample, WorkerConfig
from cluster.session import ray_session
from cluster.storage import Reader, Store, find_record, require_same_settings
from fusion_core.errors import IrfuseError, RunConflictError, RunFailedError
from fusion_core.extensions import MetricChoice, choose_metrics
from fusion_core.wording import bytes_of, count_of, duration_of
from jobs.estimates import Estimate, Work, estimate
from jobs.fusing import plan_fusing
from jobs.options import RunOptions, ScoreOptions
from jobs.output_checks import check_space, check_writable
from jobs.planning import Job, SourcePairs, find_pairs, identify_measures, request_record
from jobs.progress import Progress, SilentProgress
from jobs.remaining import Remaining, find_remaining
from jobs.scoring import plan_scoring

_HEADERS = 64
"""Pairs whose headers are read."""
_SHOWN = 3
_NOTED_S = 10.0


class Headers(BaseModel):
    """What the headers of some pairs say."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    pairs: int
    """Number of pairs whose headers were read."""
    sizes: dict[str, int]
    """Number of pairs per size, the most frequent one first."""
    infrared: dict[str, int]
    """Number of infrared images per bit depth and colour."""
    visible: dict[str, int]
    """The same of the visible images."""
    bad: dict[str, str]
    """Pairs that would be failed rows, with the reasons."""


class DryRun(BaseModel):
    """What a run would do."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Output location."""
    problems: list[str]
    """Why a run would not start, or would stop."""
    notes: list[str]
    """What the user should know besides."""
    rows: int | None = None
    """Number of pairs; None if they could not be listed."""
    shards: int | None = None
    rows_left: int | None = None
    """Number of pairs that remain to be computed."""
    first: str | None = None
    """The first pair."""
    headers: Headers | None = None
    run: str | None = None
    """Name of the run."""
    method: str | None = None
    weights: str | None = None
    """Origin of the weights; None for a method without weights, or if they are unknown."""
    metrics: int | None = None
    """Number of metrics."""
    resumes: bool = False
    """Whether OUT holds the run already."""
    writable: bool | None = None
    """Whether OUT can be written; None if that was not found out."""
    workers: int | None = None
    """Number of workers that the run would have."""
    worker: str | None = None
    """What a worker requests of Ray."""
    ray: str | None = None
    """Version of Ray on the cluster."""
    sampled: int = 0
    """Number of pairs that were computed."""
    sampled_by: int = 0
    """Number of workers that computed them at the same time."""
    stages_ms: dict[str, float] = Field(default_factory=dict)
    """Mean time of a computed pair in each stage in milliseconds."""
    estimate: Estimate | None = None
    """What the run would take; None if no pair could be computed."""

    def require_ready(self) -> None:
        """Raise an error if the run would not start, or would stop.

        Raises:
            RunFailedError: There are problems.
        """
        if self.problems:
            raise RunFailedError(
                f"The run cannot be started as it is ({count_of(len(self.problems), 'problem')})"
            )


def dry_run(options: RunOptions | ScoreOptions, progress: Progress | None = None) -> DryRun:
    """Try a run: check everything that it needs, and estimate what it takes.

    Headers of images are read, and some pairs are computed on the cluster. Nothing is
    written, except for an object that is deleted again if `probe_write` is set.

    Args:
        options: Options of the run.
        progress: Receives the progress; silent by default.
    """
    return try_run(options, progress or SilentProgress())


def try_run(
    options: RunOptions | ScoreOptions,
    progress: Progress,
    unreachable: IrfuseError | None = None,
) -> DryRun:
    """Try a run as `dry_run` does.

    Args:
        options: Options of the run.
        progress: Receives the progress.
        unreachable: Why the cluster cannot be used, if that is known already.
    """
    return _Trial(options, progress, unreachable).carry_out()


class _Trial:
    """The steps of a dry run; each notes its problem, and those that need its result are left out.

    Args:
        options: Options of the run.
        progress: Receives the progress.
        unreachable: Why the cluster cannot be used, if that is known already.
    """

    def __init__(
        self,
        options: RunOptions | ScoreOptions,
        progress: Progress,
        unreachable: IrfuseError | None,
    ) -> None:
        self._options, self._progress = options, _Noting(progress)
        self._unreachable = unreachable
        self._problems: list[str] = []
        self._started = time.monotonic()
        self._facts: dict[str, Any] = {}
        self._manifest = b""

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except IrfuseError as error:
            if str(error) not in self._problems:
                self._problems.append(str(error))

    def carry_out(self) -> DryRun:
        """Carry out all steps."""
        job: Job | None = None
        metrics: MetricChoice | None = None
        out: Store | None = None
        with self._noted():
            out = self._options.store(self._options.out)
        with self._noted():
            job = _plan(self._options, self._progress)
        with self._noted():
            reference = isinstance(self._options, ScoreOptions) and bool(self._options.reference)
            metrics = choose_metrics(
                self._options.metrics, self._options.score_colour, reference=reference
            )
        if out is not None:
            self._examine_out(out)
            self._examine_run(job, metrics, out)
        return DryRun(
            out=self._options.out if out is None else out.url,
            problems=self._problems,
            notes=self._progress.notes,
            **self._facts,
        )

    def _examine_run(self, job: Job | None, metrics: MetricChoice | None, out: Store) -> None:
        """Check the pairs and the settings, and compute some pairs if that is possible."""
        found: RunRecord | None = None
        pairs: SourcePairs | None = None
        record: RunRecord | None = None
        with self._noted():
            found = find_record(out, RunRecord)
        pairs = self._find_pairs(job, found, out)
        if job is not None:
            self._describe(job)
        if job is not None and metrics is not None and pairs is not None:
            with self._noted():
                measures = identify_measures(metrics, self._progress)
                self._facts["metrics"] = len(metrics.names)
                record = request_record(job, metrics, measures, pairs, found)
        remaining = None
        if record is not None and found is not None:
            with self._noted():
                require_same_settings(found, record)
                self._facts["resumes"] = True
                retry, verify = self._options.retry_failed, self._options.verify
                ledger = Ledger(out, found)
                remaining = find_remaining(ledger, found, retry_failed=retry, verify=verify)
        check = self._read_headers(pairs) if pairs is not None else None
        if record is None or job is None or metrics is None or pairs is None:
            self._connect()
            return
        work = _work(record, remaining, check)
        self._facts.update(shards=record.plan.count, rows_left=work.rows)
        if work.rows and check is not None:
            code = tuple(own.extension for own in metrics.own.values())
            payload = replace(job.payload, metrics=code)
            self._try(WorkerConfig(record, out, payload, trial=True), pairs, work, out)

    def _describe(self, job: Job) -> None:
        weights = getattr(job.origin, "weights", None)
        self._facts.update(run=job.name, method=job.origin.method, weights=weights)

    def _examine_out(self, out: Store) -> None:
        """Find out whether the output location can be written."""
        self._progress.message(f"Looking at {out.url}")
        with self._noted():
            self._facts["writable"] = False
            self._facts["writable"] = check_writable(out, probe=self._options.probe_write)

    def _find_pairs(
        self, job: Job | None, found: RunRecord | None, out: Store
    ) -> SourcePairs | None:
        """List the pairs, also if the run has no valid method, or is another one than in OUT."""
        listing = job or Job(self._options, FilesOrigin(method=""), name="")
        pairs: SourcePairs | None = None
        with self._noted():
            try:
                pairs = find_pairs(listing, found, out, self._progress)
            except RunConflictError as error:
                self._problems.append(str(error))
                pairs = find_pairs(listing, None, out, self._progress)
            self._manifest = pairs.manifest or out.read(MANIFEST_KEY)
            self._facts["rows"] = pairs.info.rows
        return pairs

    def _read_headers(self, pairs: SourcePairs) -> CollectionCheck | None:
        """Read the headers of some pairs, and note those that would be failed rows."""
        rows = self._rows(pairs, _HEADERS)
        self._facts["first"] = rows[0].pair_id
        self._progress.message(f"Reading the headers of {count_of(len(rows), 'pair')}")
        options = self._options
        names = ("pair_id", "ir_uri", "vis_uri")
        batch = pa.RecordBatch.from_pylist([{n: getattr(r, n) for n in names} for r in rows])
        with self._noted():
            check = check_pairs(
                [batch],
                Reader(options.storage_options, max_pixels=options.max_pixels),
                bands=options.bands,
                resize=options.resize,
                max_pixels=options.max_pixels,
            )
            bad = {problem.pair_id: problem.reason for problem in check.problems}
            self._facts["headers"] = Headers(
                pairs=check.pairs,
                sizes=dict(check.sizes.most_common()),
                infrared=dict(check.infrared.most_common()),
                visible=dict(check.visible.most_common()),
                bad=bad,
            )
            self._note_failures(bad, check.pairs, "whose headers were read")
            return check
        return None

    def _note_failures(self, bad: dict[str, str], total: int, which: str) -> None:
        """Note pairs that would be failed rows, as a problem if there are too many of them."""
        if not bad:
            return
        examples = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:_SHOWN])
        text = f"{len(bad)} of {total} pairs {which} would fail ({examples})"
        limit = self._options.max_failure_rate
        if len(bad) > limit * total:
            self._problems.append(f"{text}, over the limit of {limit:.0%} (--max-failure-rate)")
        else:
            self._progress.note(text)

    def _connect(self) -> None:
        """Find out whether the cluster can be used, although there is nothing to compute on it."""
        cluster = self._options.cluster()
        if cluster.address or os.environ.get("RAY_ADDRESS") or cluster.device == "cuda":
            with self._noted(), self._session():
                pass

    @contextmanager
    def _session(self) -> Iterator[None]:
        if self._unreachable is not None:
            raise self._unreachable
        with ray_session(self._options.cluster(), self._progress.message):
            yield

    def _try(self, config: WorkerConfig, pairs: SourcePairs, work: Work, out: Store) -> None:
        """Compute some pairs on the cluster, and estimate what the run takes."""
        rows = self._rows(pairs, self._options.dry_run_pairs)
        cluster = self._options.cluster()
        with self._noted():
            with self._session():
                # Imported here because Ray takes seconds to import.
                from cluster.runs import try_pairs

                connected = time.monotonic()
                sample = try_pairs(rows, config, cluster, work.shards, self._progress.message)
                computed = time.monotonic()
            around_s = (connected - self._started) + (time.monotonic() - computed)
            self._facts.update(
                workers=sample.workers,
                worker=str(sample.resources),
                ray=sample.ray,
                sampled=sample.pairs,
                sampled_by=sample.together,
                stages_ms=sample.stages_ms,
            )
            failures = sample.failures
            reasons = {name: f"at {f.stage}: {f.message}" for name, f in failures.items()}
            self._note_failures(reasons, sample.pairs, "that were computed")
            self._estimate(work, sample, around_s, out)

    def _estimate(self, work: Work, sample: Sample, around_s: float, out: Store) -> None:
        if not sample.compute_ms:
            return
        found = estimate(work, sample, around_s, self._options.price_per_hour)
        self._facts["estimate"] = found
        if sample.kernels_s >= _NOTED_S:
            self._progress.note(
                f"The nodes have compiled kernels for {duration_of(sample.kernels_s)}, which each "
                "machine does once; the estimate is without it"
            )
        requested = sample.resources.memory
        if requested and found.memory_per_worker > requested:
            self._progress.note(
                f"A worker has taken {bytes_of(found.memory_per_worker)}, more than the "
                f"{bytes_of(requested)} that it requests; see --memory-per-worker"
            )
        check_space(out, found.bytes_written)

    def _rows(self, pairs: SourcePairs, count: int) -> list[PairRow]:
        """Return some pairs at equal distances."""
        total = pairs.info.rows
        chosen = min(count, total)
        return pairs_at(
            self._manifest, [(2 * n + 1) * total // (2 * chosen) for n in range(chosen)]
        )


class _Noting:
    """Keeps the notes of a job, and passes on everything else."""

    def __init__(self, progress: Progress) -> None:
        self.notes: list[str] = []
        self.message = progress.message
        self.planned, self.update, self.steps = progress.planned, progress.update, progress.steps

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


def _plan(options: RunOptions | ScoreOptions, progress: Progress) -> Job:
    if isinstance(options, RunOptions):
        return plan_fusing(options, progress)
    return plan_scoring(options)


def _work(record: RunRecord, remaining: Remaining | None, check: CollectionCheck | None) -> Work:
    rows = record.rows if remaining is None else remaining.rows
    shards = record.plan.count if remaining is None else len(remaining.tasks)
    origin, pairs = record.origin, check.pairs if check is not None else 0
    further = record.sources - 2 if origin.reads_further else 0
    sources = 2 + further + origin.reads_fused + origin.reads_reference
    bytes_per_pair = check.bytes / pairs if check is not None and pairs else 0.0
    return Work(
        rows=rows,
        shards=shards,
        rows_per_shard=record.shard_size,
        sources=sources,
        megapixels=check.megapixels / pairs if check is not None and pairs else None,
        bytes_per_pair=bytes_per_pair * sources / 2,
    )
