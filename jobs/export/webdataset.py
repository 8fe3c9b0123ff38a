"""Export of a run as tar files for WebDataset."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from pydantic import BaseModel, ConfigDict

from cluster.collections import FrozenManifest
from cluster.runs import Ledger, RunRecord, row_schema
from cluster.storage import Store, find_record, read_record
from fusion_core.errors import InvalidValueError, NotFoundError
from jobs.export.labels import LabelFinder, largest_class, open_labels
from jobs.export.names import UniqueNames
from jobs.export.preparing import (
    begin,
    check_labels,
    grouped,
    most_missing_labels,
    name_labels,
    require_free,
    require_images,
    require_outside,
    root_of,
    threads_of,
    write_shards,
)
from jobs.export.reading import ReadPair, RowCondition, RunImages
from jobs.export.record import (
    SCRATCH,
    SHARED_KEY,
    SKIPPED_KEY,
    ExportedShard,
    ExportRecord,
    LabelOf,
    SharedFiles,
    SkippedPair,
    describe_file,
    is_done,
    marker_key,
    read_markers,
    to_csv,
)
from jobs.options import ExportWebDatasetOptions
from jobs.progress import Progress, SilentProgress

META_KEY = "meta.json"
_LONGEST_KEY = 120
_DIGITS_OF_LONG_KEYS = 16
_NO_SUBSET = "all"


class WebDatasetExport(BaseModel):
    """Result of an export for WebDataset."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    run: str
    """Name of the run."""
    pairs: int
    """Number of pairs in the tar files."""
    failed: int
    """Number of failed pairs, which are in none."""
    unfit: int
    """Number of other pairs that do not fit the condition."""
    written: int
    """Number of pairs that this call has written."""
    labels: int
    """Number of exported pairs that have a label."""
    tars: int
    """Number of tar files."""
    size: int
    """Bytes of the tar files."""
    example: str
    """Key of a tar file."""
    most_missing_labels: int | None
    """Largest number of pairs without a label that was accepted."""

    def require_labels(self) -> None:
        """Raise an error if more pairs have no label than was accepted.

        Raises:
            ManifestError: There are more.
        """
        check_labels(self.pairs, self.labels, self.most_missing_labels)


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
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    run, out = options.store(options.run), options.store(options.out)
    record = read_record(run, RunRecord)
    require_images(run, record)
    require_outside(out, record)
    requested = ExportRecord(
        form="webdataset",
        run=record.fingerprint,
        run_name=record.name,
        run_location=run.url,
        rows=record.rows,
        collection=record.collection,
        root=root_of(run, record),
        shard_bytes=options.shard_bytes,
        labels=name_labels(options),
        with_sources=options.with_sources,
        where=options.where,
        irfuse_version=version("irfuse"),
    )
    found = find_record(out, ExportRecord)
    require_free(out, requested, found)
    labels = open_labels(
        requested.labels, options.store(options.labels), FrozenManifest(run), requested.root
    )
    if labels.coco:
        raise InvalidValueError(
            f"--labels {options.labels} holds COCO files, of which no pair has its own; export to "
            "a folder, or convert them to one file per image"
        )
    progress.message("Checking the names of the pairs")
    contents = _check_rows(run, record, options)
    exporter = _TarExporter(run, record, out, requested, labels, contents)
    todo = exporter.remaining()
    begin(out, requested, found)
    rows = sum(exporter.rows(group) for group in todo)
    threads = threads_of(options, run, out, large_files=True)
    written = write_shards(exporter.export, todo, rows, threads, progress)
    return _finish(options, record, out, written)


def _check_rows(run: Store, record: RunRecord, options: ExportWebDatasetOptions) -> dict[int, str]:
    """Check the names of all pairs, and return the digest of each shard."""
    ledger, condition, unique = Ledger(run, record), RowCondition(options.where), UniqueNames()
    columns = [name for name in row_schema(record.metrics).names if name != "fused"]
    contents, fit = dict[int, str](), 0

    def names() -> Iterator[tuple[str, str]]:
        for content in ledger.contents(["pair_id"]):
            for row in content.to_rows():
                yield row["pair_id"], sample_key(row["pair_id"])

    for content in ledger.contents(columns):
        assert content.table is not None
        contents[content.shard] = content.facts.content
        fitting = condition.fitting(content.table)
        rows = content.to_rows()
        fit += sum(row["status"] == "ok" and row["pair_id"] in fitting for row in rows)
        unique.add([sample_key(row["pair_id"]) for row in rows])
    if len(contents) < record.plan.count:
        raise NotFoundError(
            f"The run at {run.url} is not finished: {len(contents)} of {record.plan.count} shards "
            "are committed; resume it"
        )
    unique.check(names)
    if not fit:
        raise InvalidValueError(f"No pair of {run.url} can be exported; check --where")
    return contents


class _TarExporter:
    """Writes the tar files of groups of shards; several threads may use one."""

    def __init__(
        self,
        run: Store,
        record: RunRecord,
        out: Store,
        export: ExportRecord,
        labels: LabelFinder,
        contents: Mapping[int, str],
    ) -> None:
        self._out, self._record, self._export = out, record, export
        self._labels, self._contents = labels, contents
        self._images = RunImages(run, record, export)
        self._groups = list(grouped(run, record, export.shard_bytes or 1))

    def remaining(self) -> list[int]:
        """Return the numbers of the groups that are not written."""
        every = range(len(self._groups))
        return [n for n in every if not is_done(self._out, n, self._content(n))]

    def rows(self, group: int) -> int:
        """Return the number of rows of a group."""
        bounds = [self._record.plan.bounds(shard) for shard in self._groups[group]]
        return bounds[-1][1] - bounds[0][0]

    def _content(self, group: int) -> str:
        digests = "".join(self._contents[shard] for shard in self._groups[group])
        return hashlib.sha256(digests.encode()).hexdigest()

    def export(self, group: int) -> ExportedShard:
        """Write the tar files of a group of shards, one for each subset, and then their marker.

        Raises:
            StorageError: A shard or a file cannot be read, or a file cannot be written.
        """
        tars: dict[str, _Tar] = {}
        images, labels = dict[str, str](), dict[str, LabelOf]()
        skipped, classes = list[SkippedPair](), list[int]()
        for shard in self._groups[group]:
            for _, pairs in self._images.groups(shard):
                for pair in pairs:
                    if isinstance(pair, SkippedPair):
                        skipped.append(pair)
                        continue
                    subset = sample_key(pair.pair.subset) or _NO_SUBSET
                    key = f"{subset}-{group:06d}.tar"
                    tar = tars.setdefault(key, _Tar())
                    pair_id, name = pair.pair.pair_id, sample_key(pair.pair.pair_id)
                    images[pair_id] = key
                    for ending, data in self._members(pair, labels, classes, key):
                        tar.add(f"{name}.{ending}", data)
        objects = {key: tar.close() for key, tar in tars.items()}
        self._out.write_all(objects, scratch=SCRATCH)
        done = ExportedShard(
            shard=group,
            content=self._content(group),
            images=images,
            labels=labels,
            largest_class=max(classes, default=None),
            files=[describe_file(key, data) for key, data in objects.items()],
            skipped=skipped,
        )
        self._out.write(marker_key(group), done.model_dump_json().encode())
        return done

    def _members(
        self, read: ReadPair, labels: dict[str, LabelOf], classes: list[int], key: str
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the endings and contents of the files of a pair, in their order in the tar file."""
        pair = read.located
        yield f"fused.{read.extension}", read.data
        if self._export.with_sources:
            sources = {"infrared": read.pair.ir_uri, "visible": read.pair.vis_uri}
            for (kind, name), uri in zip(sources.items(), (pair.ir_uri, pair.vis_uri), strict=True):
                yield f"{kind}{_extension(name)}", self._images.files.read(uri)
        label = self._labels.find(pair)
        if label is not None:
            try:
                data = self._images.files.read(label.uri)
            except NotFoundError:
                pass  # it counts as missing
            else:
                labels[pair.pair_id] = LabelOf(key=key, source=label.source)
                if label.extension == "txt":
                    classes += [n for n in (largest_class(data),) if n is not None]
                yield f"label.{label.extension}", data
        yield "json", json.dumps(dict(read.row), sort_keys=True).encode()


class _Tar:
    """A tar file whose bytes depend on its members alone."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        """Add a file without owner and time."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def close(self) -> bytes:
        """Return the bytes of the tar file."""
        self._tar.close()
        return self._buffer.getvalue()


def _extension(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _finish(
    options: ExportWebDatasetOptions, record: RunRecord, out: Store, written: int
) -> WebDatasetExport:
    tars: list[dict[str, str | int]] = []
    pairs = labels = size = 0
    skipped: list[SkippedPair] = []
    for marker in read_markers(out):
        counts = list(marker.images.values())
        tars += [
            {"name": f.key, "pairs": counts.count(f.key), "bytes": f.bytes, "sha256": f.sha256}
            for f in marker.files
        ]
        pairs, labels, size = pairs + marker.pairs, labels + len(marker.labels), size + marker.size
        skipped += marker.skipped
    meta = json.dumps({"shards": tars, "pairs": pairs}, indent=2).encode()
    out.write(META_KEY, meta)
    shared = SharedFiles(files=[describe_file(META_KEY, meta)])
    out.write(SHARED_KEY, shared.model_dump_json().encode())
    rows = [(pair.pair_id, pair.reason, pair.detail) for pair in skipped]
    out.write(SKIPPED_KEY, to_csv(("pair_id", "reason", "detail"), rows))
    failed = sum(pair.reason == "failed" for pair in skipped)
    return WebDatasetExport(
        out=out.url,
        run=record.name,
        pairs=pairs,
        failed=failed,
        unfit=len(skipped) - failed,
        written=written,
        labels=labels,
        tars=len(tars),
        size=size,
        example=next((str(tar["name"]) for tar in tars), ""),
        most_missing_labels=most_missing_labels(options),
    )
