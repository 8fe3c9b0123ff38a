"""Export of a run as tar files for WebDataset."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Iterator

from cluster.collections import PairRow
from cluster.runs import Ledger
from cluster.storage import split_query
from jobs.export.groups import CheckedRows, GroupExporter, check_rows
from jobs.export.names import UniqueNames
from jobs.export.preparing import (
    ExportResult,
    Target,
    most_missing_labels,
    open_target,
    publish_lists,
)
from jobs.export.reading import ReadPair
from jobs.export.record import SkippedPair, Written, read_markers
from jobs.export.writing import ExportPlan
from jobs.options import ExportWebDatasetOptions
from jobs.progress import Progress, SilentProgress

META_KEY = "meta.json"
_LONGEST_KEY = 120
_LONGEST_PLAIN_NAME = 100
_DIGITS_OF_LONG_KEYS = 16
_NO_SUBSET = "all"


class WebDatasetExport(ExportResult):
    """Result of an export for WebDataset."""

    tars: int
    """Number of tar files."""
    example: str
    """Key of a tar file."""


def sample_key(pair_id: str) -> str:
    """Return the name of a pair in tar files, which has no dots or slashes.

    A name of more than 120 bytes is cut and ends in a digest. The JSON of each sample has the
    `pair_id` itself.

    >>> sample_key("train/a.b")
    'train__a-b'
    """
    key = pair_id.replace("/", "__").replace(".", "-")
    if len(key.encode()) <= _LONGEST_KEY:
        return key
    digest = hashlib.sha256(pair_id.encode()).hexdigest()[:_DIGITS_OF_LONG_KEYS]
    cut = key.encode()[: _LONGEST_KEY - _DIGITS_OF_LONG_KEYS - 1].decode(errors="ignore")
    return f"{cut}-{digest}"


def export_webdataset(
    options: ExportWebDatasetOptions, progress: Progress | None = None
) -> WebDatasetExport:
    """Write the pairs of a run as tar files, each of several shards of the run.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: Two pairs have one name in tar files, the condition cannot be evaluated,
            or no pair fits it.
        NotFoundError: There is no run, it holds no images, or it is not finished.
        RunConflictError: The folder holds other files, or an export with other settings.
        RunFailedError: Workers cannot be placed, or keep dying.
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    plan = plan_webdataset(options, progress)
    return _finish(options, plan.target, plan.carry_out(options, progress))


def plan_webdataset(options: ExportWebDatasetOptions, progress: Progress) -> ExportPlan:
    """Return what `export_webdataset` has to write; it raises the same errors."""
    target = open_target(
        options,
        form="webdataset",
        group_bytes=options.shard_bytes,
        shard_bytes=options.shard_bytes,
    )
    labels = target.labels(options)
    progress.message("Checking the names of the pairs")
    return _TarExporter(target, labels, _check_names(target)).plan()


def _check_names(target: Target) -> CheckedRows:
    """Check the names of all pairs in tar files, and return what is known of the rows."""
    unique = UniqueNames()
    checked = check_rows(
        target, lambda rows: unique.add([sample_key(row["pair_id"]) for row in rows])
    )

    def names() -> Iterator[tuple[str, str]]:
        for content in Ledger(target.run, target.record).contents(["pair_id"]):
            for row in content.to_rows():
                yield row["pair_id"], sample_key(row["pair_id"])

    unique.check(names, "export these pairs to several folders with --where")
    return checked


class _TarExporter(GroupExporter["_Tar"]):
    """Writes tar files, one for each subset."""

    def _key(self, pair: PairRow, group: int) -> str:
        return f"{sample_key(pair.subset) or _NO_SUBSET}-{group:06d}.tar"

    def _new_file(self) -> _Tar:
        return _Tar()

    def _add(self, file: _Tar, read: ReadPair, key: str, written: Written) -> None:
        name = sample_key(read.pair.pair_id)
        for ending, data in self._members(read, key, written):
            file.add(f"{name}.{ending}", data)

    def _members(self, read: ReadPair, key: str, written: Written) -> Iterator[tuple[str, bytes]]:
        """Yield the endings and contents of the files of a pair, in their order in the tar file."""
        yield f"fused.{read.extension}", read.data
        if self._export.with_sources:
            for kind, uri in read.located.sources.items():
                extension = posixpath.splitext(split_query(uri)[0])[1].lower()
                yield f"{kind}{extension}", self._images.read_source(read.located, uri)
        image = f"{sample_key(read.pair.pair_id)}.fused.{read.extension}"
        if (found := self._label(read, key, image, written)) is not None:
            label, data = found
            yield f"label.{label.extension}", data
        yield "json", json.dumps(dict(read.row), sort_keys=True).encode()


class _Tar:
    """A tar file whose bytes depend on its members alone."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()

    def add(self, name: str, data: bytes) -> None:
        """Add a file without owner and time."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        # The header is the same in both formats, and written faster in this one.
        plain = name.isascii() and len(name) <= _LONGEST_PLAIN_NAME
        header = info.tobuf(tarfile.USTAR_FORMAT if plain else tarfile.PAX_FORMAT)
        self._buffer.write(header)
        self._buffer.write(data)
        self._fill(tarfile.BLOCKSIZE)

    def close(self) -> bytes:
        """Return the bytes of the tar file."""
        self._buffer.write(bytes(2 * tarfile.BLOCKSIZE))
        self._fill(tarfile.RECORDSIZE)
        return self._buffer.getvalue()

    def _fill(self, size: int) -> None:
        """Add zeros up to a multiple of a size."""
        self._buffer.write(bytes(-self._buffer.tell() % size))


def _finish(options: ExportWebDatasetOptions, target: Target, written: int) -> WebDatasetExport:
    tars: list[dict[str, str | int]] = []
    pairs = labels = size = 0
    skipped: list[SkippedPair] = []
    for marker in read_markers(target.out):
        counts = list(marker.images.values())
        tars += [
            {"name": f.key, "pairs": counts.count(f.key), "bytes": f.bytes, "sha256": f.sha256}
            for f in marker.files
        ]
        pairs, labels, size = pairs + marker.pairs, labels + len(marker.labels), size + marker.size
        skipped += marker.skipped
    meta = json.dumps({"shards": tars, "pairs": pairs}, indent=2).encode()
    failed, unfit = publish_lists(target.out, {META_KEY: meta}, skipped)
    return WebDatasetExport(
        out=target.out.url,
        run=target.record.name,
        pairs=pairs,
        failed=failed,
        unfit=unfit,
        written=written,
        labels=labels,
        tars=len(tars),
        size=size,
        example=next((str(tar["name"]) for tar in tars), ""),
        most_missing_labels=most_missing_labels(options),
    )
