"""The records of an export: its settings, and what was written for each shard of the run."""

from __future__ import annotations

import csv
import hashlib
import io
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.storage import SettingsRecord, Store
from fusion_core.errors import NotFoundError, StorageError
from jobs.export.names import RESERVED
from jobs.options import ImageFormat, Preset

LABELS_KEY = "labels.csv"
SHARED_KEY = f"{RESERVED}/shared.json"
SCRATCH = f"{RESERVED}/temporary"
SKIPPED_KEY = f"{RESERVED}/skipped.csv"
_DONE = f"{RESERVED}/done"
_MARKER = re.compile(r"shard-(\d{6,})")


class ExportRecord(SettingsRecord):
    """The content of `_irfuse/export.json`."""

    key: ClassVar[str] = f"{RESERVED}/export.json"
    noun: ClassVar[str] = "finished or unfinished export"
    informative: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("run_name", "run_location", "rows", "root", "groups", "irfuse_version"), True
    )

    run: str
    """Fingerprint of the run."""
    run_name: str
    """Name of the run."""
    run_location: str
    """Location of the run when the export began."""
    rows: int
    """Number of pairs of the run."""
    collection: str
    """Name of the collection."""
    root: str
    """Location of the collection, to which the names are relative."""
    form: Literal["folder", "webdataset", "hf"] = "folder"
    """What the files are."""
    preset: Preset = "mirror"
    """Names of the files, unless there is a template."""
    shard_bytes: int | None = None
    """Size at which a tar or Parquet file is full."""
    name: str | None = None
    """Template of the names."""
    format: ImageFormat | None = None
    """Format of the files; None for copies."""
    quality: int | None = None
    """Quality of JPEG; None for other formats."""
    labels: str = "auto"
    """Where labels come from: `auto` for the manifest of the run, `none`, or a folder."""
    with_sources: bool = False
    """Whether the source files are copied."""
    where: str | None = None
    """Condition on the rows."""
    splits: str | None = None
    """Digest of the splits that files name; None for the subsets."""
    classes: tuple[str, ...] = ()
    """Names of the classes of labels."""
    license: str | None = None
    """Licence in the card of a dataset."""
    groups: tuple[int, ...] = ()
    """First shard of each group of shards that is written together, in exports that have groups.
    They stay as they are when the shards of the run grow."""
    irfuse_version: str
    """Version of irfuse."""


class ExportedFile(BaseModel):
    """A file of an export."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Path below the folder of the export."""
    bytes: int
    sha256: str


class SkippedPair(BaseModel):
    """A pair that has no file."""

    model_config = ConfigDict(frozen=True)

    pair_id: str
    reason: str
    """`failed`, `where`, or `split` for a pair that is in none."""
    detail: str = ""
    """Stage and message of a failed pair."""


class LabelOf(BaseModel):
    """The exported label of a pair."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Path of the label below the folder of the export."""
    source: str
    """What has the stem of the label: `both` images, the `infrared` or the `visible` one, the
    `pair`, or `other`; or `coco` for COCO files."""


class SharedFiles(BaseModel):
    """The content of `_irfuse/shared.json`: files that belong to no single shard."""

    model_config = ConfigDict(frozen=True)

    files: list[ExportedFile]


class ExportedShard(BaseModel):
    """What was written for one shard of the run: the content of its marker."""

    model_config = ConfigDict(frozen=True)

    shard: int
    """Number of the shard, or of the group of shards."""
    content: str
    """Digest of the rows of the shard; another one if failed pairs were computed again."""
    images: dict[str, str]
    """Key of the fused image of each pair that was exported."""
    labels: dict[str, LabelOf]
    """The labels of those of them that have one."""
    largest_class: int | None = None
    """Largest class number in labels of YOLO."""
    files: list[ExportedFile]
    skipped: list[SkippedPair]

    @property
    def pairs(self) -> int:
        """Number of pairs that were exported."""
        return len(self.images)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(slots=True)
class Written:
    """What is known of the pairs of a shard while they are written."""

    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, LabelOf] = field(default_factory=dict)
    classes: list[int] = field(default_factory=list)
    skipped: list[SkippedPair] = field(default_factory=list)

    def mark(
        self, out: Store, shard: int, content: str, files: list[ExportedFile]
    ) -> ExportedShard:
        """Write the marker of a shard, whose files have been written."""
        done = ExportedShard(
            shard=shard,
            content=content,
            images=self.images,
            labels=self.labels,
            largest_class=max(self.classes, default=None),
            files=files,
            skipped=self.skipped,
        )
        out.write(marker_key(shard), done.model_dump_json().encode())
        return done


def marker_key(shard: int) -> str:
    """Return the key of the marker of a shard."""
    return f"{_DONE}/shard-{shard:06d}"


def read_markers(out: Store) -> Iterator[ExportedShard]:
    """Yield what was written for each shard, in their order.

    Raises:
        StorageError: A marker is damaged or cannot be read.
    """
    for entry in out.entries(_DONE):
        if _MARKER.fullmatch(posixpath.basename(entry.key)):
            yield _parse(out, entry.key, out.read(entry.key))


def done_shards(out: Store) -> set[int]:
    """Return the numbers of the shards that have a marker."""
    names = (posixpath.basename(entry.key) for entry in out.entries(_DONE))
    return {int(found[1]) for name in names if (found := _MARKER.fullmatch(name))}


def written_contents(out: Store) -> dict[int, str]:
    """Return the digest of the rows that the files of each shard with a marker were written from.

    Raises:
        StorageError: A marker is damaged or cannot be read.
    """
    return {marker.shard: marker.content for marker in read_markers(out)}


def _parse(out: Store, key: str, data: bytes) -> ExportedShard:
    try:
        return ExportedShard.model_validate_json(data)
    except ValidationError:
        raise StorageError(
            f"{out.uri(key)} is damaged; delete it and export again to write its files anew"
        ) from None


def describe_file(key: str, data: bytes) -> ExportedFile:
    """Return size and digest of a file."""
    return ExportedFile(key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_shared(out: Store) -> SharedFiles:
    """Return the files that belong to no single shard; none before an export is complete.

    Raises:
        StorageError: The list is damaged or cannot be read.
    """
    try:
        return SharedFiles.model_validate_json(out.read(SHARED_KEY))
    except NotFoundError:
        return SharedFiles(files=[])
    except ValidationError:
        raise StorageError(f"{out.uri(SHARED_KEY)} is damaged; export again") from None


def to_csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    """Return a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
