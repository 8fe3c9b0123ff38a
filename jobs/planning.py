"""Planning of a run: its manifest and its record, or the check that existing ones are the same."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from cluster.collections import (
    MANIFEST_KEY,
    FrozenInfo,
    collection_name,
    freeze,
)
from cluster.runs import (
    AnyOrigin,
    Payload,
    RunRecord,
    default_shard_size,
    row_schema,
)
from cluster.session import installed_software
from cluster.storage import Store, claim_location, find_record, redact
from fusion_core.errors import InvalidValueError
from fusion_core.extensions import MetricChoice, MetricRecord
from fusion_core.metrics import measures_among
from jobs.options import JobOptions
from jobs.progress import Progress, note_changed_code
from jobs.sources import (
    Batches,
    describe_rest,
    identify_source,
    open_source,
    pairing_of,
    selection_of,
)

_RECORDED_PACKAGES = ("numpy", "pillow", "pyarrow", "ray")


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


@dataclass(frozen=True, slots=True)
class SourcePairs:
    """The pairs of a run: those with which it began, or those of its source."""

    info: FrozenInfo
    source: str
    """Full location of the source."""
    sha256: str | None
    """SHA-256 of a manifest file; None for a folder."""
    manifest: bytes | None
    """The frozen manifest; None if the run has it already."""


def plan_run(job: Job, metrics: MetricChoice, out: Store, progress: Progress) -> RunRecord:
    """Create the record of the run, or check that an existing one has the same settings.

    Args:
        job: The requested run.
        metrics: Its metrics.
        out: Its output location.
        progress: Receives the progress.

    Raises:
        InvalidValueError: A metric has the name of another column, or the method is not defined for
            so many sources.
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        StorageError: A location cannot be read or written.
    """
    measures = identify_measures(metrics, progress)
    found = find_record(out, RunRecord)
    pairs = find_pairs(job, found, out, progress)
    requested = request_record(job, metrics, measures, pairs, found)
    record = claim_location(out, requested, found)
    note_changed_code(record, requested, progress)
    for key, content in job.documents.items():
        out.write(key, content)
    # Written after run.json, which only one of several drivers can create.
    if pairs.manifest is not None and not out.exists(MANIFEST_KEY):
        out.write(MANIFEST_KEY, pairs.manifest)
    return record


def find_pairs(job: Job, found: RunRecord | None, out: Store, progress: Progress) -> SourcePairs:
    """List the pairs of the source, unless the run that is resumed has them.

    Args:
        job: The requested run.
        found: The record of the run that is resumed.
        out: The output location.
        progress: Receives the progress.

    Raises:
        ManifestError: The source has no pairs.
        RunConflictError: The output location holds a run with other settings.
        StorageError: A location cannot be read.
    """
    options = job.options
    source, sha256 = identify_source(options)
    if found is not None:  # a conflict is reported before a large source is listed
        chosen = {"pairing": pairing_of(options), "selection": selection_of(options)}
        claim_location(out, found.model_copy(update=chosen), found)
        if _is_frozen(job, source, sha256, found, out):
            info = FrozenInfo(found.rows, found.manifest_digest, found.sources - 2)
            return SourcePairs(info, source, sha256, None)
    progress.message(f"Looking for pairs in {redact(options.source)}")
    info, manifest = freeze(_batches(job, progress))
    return SourcePairs(info, source, sha256, manifest)


def request_record(
    job: Job,
    metrics: MetricChoice,
    measures: dict[str, dict[str, str]],
    pairs: SourcePairs,
    found: RunRecord | None,
) -> RunRecord:
    """Return the record of the requested run.

    Args:
        job: The requested run.
        metrics: Its metrics.
        measures: Result of `identify_measures`.
        pairs: Its pairs.
        found: The record of the run that is resumed.

    Raises:
        InvalidValueError: The method is not defined for so many sources.
    """
    options, info = job.options, pairs.info
    job.check_sources(2 + info.further)
    shard_size = options.shard_size or (
        found.shard_size if found else default_shard_size(info.rows)
    )
    return RunRecord(
        name=job.name,
        collection=_name_collection(options, pairs.source, found),
        source=pairs.source,
        source_sha256=pairs.sha256,
        pairing=pairing_of(options),
        selection=selection_of(options),
        origin=job.origin,
        metrics=metrics.names,
        own_metrics={name: MetricRecord.of(found) for name, found in metrics.own.items()},
        measures=measures,
        channels=metrics.channels,
        max_pixels=options.max_pixels,
        bands=options.bands,
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


def identify_measures(metrics: MetricChoice, progress: Progress) -> dict[str, dict[str, str]]:
    """Check the names of metrics, and load the measures of other libraries before the run.

    The weights of measures may be downloaded.

    Raises:
        InvalidValueError: A metric has the name of another column.
    """
    columns = row_schema(()).names
    for name in metrics.own:
        if name in columns:
            raise InvalidValueError(
                f"The metric {name} has the name of another column; give it another one, as in "
                "@irfuse.metric(name=…)"
            )
    found = {}
    for measure in measures_among(metrics.names):
        from fusion_core.metrics import identify_measure  # needs torch, which others do not

        progress.message(f"Loading {measure.requested}")
        found[measure.column] = identify_measure(measure)
    return found


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
