"""Take finished runs into a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from cluster.collections import MANIFEST_KEY, FrozenManifest
from cluster.runs import SHARDS_PREFIX, Ledger, MethodOrigin, RunRecord
from cluster.storage import Store, read_record, redact
from fusion_core.errors import RunConflictError
from jobs.progress import Progress
from jobs.study.cells import Cell, is_finished
from jobs.study.options import StudyAddOptions
from jobs.study.record import StudyRecord, cell_key, find_study, grow, save_study
from jobs.study.scores import require_metrics, require_same_pairs
from jobs.study.settings import StudyCollection, StudyMethod, check_name

_FILES = ("fused.parquet", "summary.json", "summary.csv", "preview.png")
"""Objects of a run besides its record, manifest and shards; none of them must exist."""


class AddedRuns(BaseModel):
    """Result of `irfuse study add`."""

    out: str
    added: list[str]
    """Keys of the new cells."""
    existing: list[str]
    """Keys of the cells that held the same run already."""


def add_runs(options: StudyAddOptions, progress: Progress | None = None) -> AddedRuns:
    """Copy finished runs into the study at OUT, which is created if there is none.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        NotFoundError: A location contains no run.
        RunConflictError: A run is unfinished, another run has its place, or it lacks a metric or
            has another version than the study.
        ManifestError: It has other pairs than the collection in the study.
        StorageError: A location cannot be read or written.
    """
    out = options.store(options.out)
    result = AddedRuns(out=out.url, added=[], existing=[])
    for location in options.runs:
        source = options.store(location)
        run = read_record(source, RunRecord)
        key = cell_key(_checked(run.collection), _checked(run.name))
        found = find_study(out)
        study = _with_run(found, run, key)
        _check_run(out, study, source, run)
        copied = _copy(source, out, run, key)
        save_study(out, found, study)
        (result.added if copied else result.existing).append(key)
    return result


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise RunConflictError(f"The run cannot be a cell of a study: {error}") from None


def _with_run(found: StudyRecord | None, run: RunRecord, key: str) -> StudyRecord:
    """Return the record of the study with the cell of a run."""
    if found is not None and key in found.added:
        return found
    origin = run.origin
    settings: dict[str, Any] = (
        {"method": origin.method, "params": origin.parameters, "weights": origin.weights}
        if isinstance(origin, MethodOrigin)
        else {"fused": {run.collection: origin.fused or redact(run.source)}}
    )
    collection = StudyCollection(source=run.source)
    base = found or StudyRecord(
        collections={},
        methods={},
        metrics=run.metrics,
        requested_metrics=tuple(run.metrics),
        irfuse_version=run.irfuse_version,
        torch_version=run.torch_version,
    )
    new = base.model_copy(
        update={
            "collections": {run.collection: base.collections.get(run.collection, collection)},
            "methods": {run.name: base.methods.get(run.name, StudyMethod(**settings))},
            "added": (key,),
        }
    )
    return new if found is None else grow(found, new)


def _check_run(out: Store, study: StudyRecord, source: Store, run: RunRecord) -> None:
    what = f"{run.name} on {run.collection}"
    ledger = Ledger(source, run)
    done = len(ledger.listing().shards)
    if done < run.plan.count:
        raise RunConflictError(
            f"{source.url} is unfinished: {done} of {run.plan.count} shards; finish it first"
        )
    require_metrics(run, study.metrics, what)
    for name in ("irfuse_version", "torch_version"):
        own, other = getattr(study, name), getattr(run, name)
        if own != other:
            raise RunConflictError(
                f"{source.url} was computed with another version ({name}: study {own}, run "
                f"{other}); compute it again with the version of the study"
            )
    for label in study.methods:
        cell = Cell(run.collection, label)
        if label != run.name and is_finished(out, cell):
            other = Store(out.uri(cell.key), out.storage_options)
            require_same_pairs(
                _pair_ids(other), _pair_ids(source), f"{label} on {run.collection}", what
            )
            return


def _pair_ids(store: Store) -> Sequence[str]:
    return [name for batch in FrozenManifest(store).batches() for name in
            batch.column("pair_id").to_pylist()]  # fmt: skip


def _copy(source: Store, out: Store, run: RunRecord, key: str) -> bool:
    """Copy a run; return False if it is there already.

    Raises:
        RunConflictError: Another run is in its place.
    """
    target = Store(out.uri(key), out.storage_options)
    if target.exists(run.key):
        if read_record(target, RunRecord) != run:
            raise RunConflictError(
                f"{target.url} contains another run already; rename this one (--name)"
            )
        if len(Ledger(target, run).listing().shards) == run.plan.count:
            return False
    target.write(run.key, source.read(run.key))
    target.write(MANIFEST_KEY, source.read(MANIFEST_KEY))
    for entry in source.entries(SHARDS_PREFIX):
        target.write(entry.key, source.read(entry.key))
    for name in _FILES:
        if source.exists(name):
            target.write(name, source.read(name))
    return True
