"""What every export does before and while it writes files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from cluster.collections import FrozenManifest, common_folder, is_manifest
from cluster.runs import RunRecord, shard_key
from cluster.storage import Store, read_record, redact, require_same_settings, split_query
from fusion_core.errors import (
    InvalidValueError,
    ManifestError,
    NotFoundError,
    RunConflictError,
)
from jobs.export.record import SCRATCH, ExportedShard, ExportRecord
from jobs.options import ExportOptions
from jobs.progress import Progress

_LOCAL_THREADS, _REMOTE_THREADS = 8, 16
_POLL_S = 0.5


def require_free(out: Store, requested: ExportRecord, found: ExportRecord | None) -> None:
    """Check that a folder is empty, or holds the export that is requested."""
    if found is not None:
        require_same_settings(found, requested, option="OUT")
    elif entries := out.entries():
        raise RunConflictError(
            f"{out.url} is not empty (it contains {entries[0].key}), and holds no export; choose "
            "a new or empty folder"
        )


def begin(out: Store, requested: ExportRecord, found: ExportRecord | None) -> None:
    """Write the record unless it is there; only one of several processes creates it."""
    out.remove_stale_temporaries(SCRATCH)
    if found is not None:
        return
    if not out.create(requested.key, requested.model_dump_json(indent=2).encode()):
        require_same_settings(read_record(out, ExportRecord), requested, option="OUT")


def name_labels(options: ExportOptions) -> str:
    """Return `auto`, `none`, or the full location of a folder."""
    known = options.labels in ("auto", "none")
    return options.labels if known else options.store(options.labels).url


def require_images(run: Store, record: RunRecord) -> None:
    """Check that the rows of a run hold images, or name their files."""
    if not (record.origin.encodes or record.origin.reads_fused):
        raise NotFoundError(
            f"{run.url} holds no images, because it was made with --no-keep-images; fuse the "
            "collection again without it"
        )


def require_outside(out: Store, record: RunRecord) -> None:
    """Check that an export is not found as a part of its own collection."""
    place, source = out.url, record.source
    if out.is_local and "://" not in source:
        place, source = os.path.realpath(place), os.path.realpath(source)
    if not is_manifest(source) and f"{place}/".startswith(f"{source}/"):
        raise InvalidValueError(
            f"{out.url} is inside of the collection {redact(record.source)}, whose pairs would be "
            "found among the exported files; choose a folder outside of it"
        )


def root_of(run: Store, record: RunRecord) -> str:
    """Return the location of the collection, to which names are relative."""
    if not is_manifest(record.source):
        return record.source
    return common_folder(
        split_query(uri)[0]
        for batch in FrozenManifest(run).batches()
        for name in ("ir_uri", "vis_uri")
        for uri in batch.column(name).to_pylist()
    )


def most_missing_labels(options: ExportOptions) -> int | None:
    """Return the largest number of pairs without a label that is accepted; None for any."""
    if options.max_missing_labels is None and options.labels not in ("auto", "none"):
        return 0
    return options.max_missing_labels


def check_labels(pairs: int, labels: int, most: int | None) -> None:
    """Raise an error if more exported pairs have no label than is accepted.

    Raises:
        ManifestError: There are more.
    """
    if most is not None and pairs - labels > most:
        raise ManifestError(
            f"{pairs - labels} of {pairs} exported pairs have no label, more than "
            f"--max-missing-labels {most}; all files are written"
        )


def grouped(run: Store, record: RunRecord, size: int) -> Iterator[list[int]]:
    """Yield groups of consecutive shards of about a size."""
    sizes = {entry.key: entry.size for entry in run.entries("shards")}
    group, total = list[int](), 0
    for shard in range(record.plan.count):
        own = sizes.get(shard_key(shard), 0)
        if group and total + own > size:
            yield group
            group, total = [], 0
        group.append(shard)
        total += own
    yield group


def threads_of(options: ExportOptions, *stores: Store, large_files: bool = False) -> int:
    """Return the number of shards, or of large files, that are read and written at a time."""
    local = all(store.is_local for store in stores)
    threads = _LOCAL_THREADS if local else _REMOTE_THREADS
    return options.threads or (threads // 4 if large_files else threads)


def write_shards(
    export: Callable[[int], ExportedShard],
    shards: Sequence[int],
    rows: int,
    threads: int,
    progress: Progress,
) -> int:
    """Write the files of shards with several threads, and return the number of pairs."""
    done = written = size = 0
    with ThreadPoolExecutor(threads) as pool:
        waiting: set[Future[ExportedShard]] = {pool.submit(export, shard) for shard in shards}
        try:
            while waiting:
                finished, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
                for shard in (future.result() for future in finished):
                    done += shard.pairs + len(shard.skipped)
                    written += shard.pairs
                    size += shard.size
                progress.steps(done, rows, f"{size / 1e6:.1f} MB")
        finally:
            pool.shutdown(cancel_futures=True)
    return written
