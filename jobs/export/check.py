"""Check of an export: its files are read and compared with what was written."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict

from cluster.storage import read_record
from fusion_core.errors import StorageError
from fusion_core.wording import count_of
from jobs.export.clashes import Clash, Clashes
from jobs.export.contents import ExportFiles, Sample, images_of_coco
from jobs.export.labels import COCO
from jobs.export.record import (
    LABELS_KEY,
    ExportedShard,
    ExportRecord,
    marker_key,
    read_markers,
    read_shared,
)
from jobs.export.webdataset import sample_key
from jobs.options import ExportCheckOptions
from jobs.progress import Progress, SilentProgress

_READERS, _READERS_OF_LARGE_FILES = 8, 2
_MOST_NAMED = 3


class ExportCheck(BaseModel):
    """Result of the check of an export."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    run: str
    """Name of the run."""
    pairs: int
    """Number of pairs that have files."""
    skipped: int
    """Number of pairs that have none."""
    unfinished: int
    """Number of pairs of the run that are not exported yet."""
    files: int
    """Number of files that were written."""
    size: int
    """Bytes of these files."""
    labels: int
    """Number of exported pairs whose label was found."""
    unlabelled: int
    """Number of exported pairs that have no label."""
    missing: list[str]
    """Files that are not there any more."""
    changed: list[str]
    """Files whose content is not what was written."""
    foreign: list[str]
    """Files that the export has not written."""
    lost_labels: list[str]
    """Pairs with a label according to labels.csv or the records of the export, whose label is not
    there: its file is missing or changed, or the tar, Parquet or COCO file does not hold it."""
    unsound: list[str]
    """Markers of the shards whose files are missing or changed, or whose labels are lost."""
    clashes: list[Clash]
    """File names that belong to several pairs, or that differ in letter case only."""

    def require_sound(self) -> None:
        """Raise an error if files are missing, changed or foreign, labels are lost, or names clash.

        Raises:
            StorageError: There are such files, labels or names.
        """
        kinds = {
            "missing file": self.missing,
            "changed file": self.changed,
            "foreign file": self.foreign,
            "lost label": self.lost_labels,
        }
        problems = [count_of(len(found), kind) for kind, found in kinds.items() if found]
        remedies = ["remove the foreign files"] if self.foreign else []
        if self.unsound:
            named = ", ".join(self.unsound[:_MOST_NAMED])
            more = len(self.unsound) - _MOST_NAMED
            rest = f" and {more} more" if more > 0 else ""
            remedies.append(f"to write their shards anew, delete {named}{rest} and export again")
        elif self.missing or self.changed or self.lost_labels:
            remedies.append("export again")
        if self.clashes:
            problems.append(f"{count_of(len(self.clashes), 'name')} of several pairs or files")
            remedies.append(
                "names that are equal, on Windows and macOS also those that differ in letter case "
                "only, overwrite each other: export their pairs with a --name that keeps them "
                "apart, or to several folders with --where"
            )
        if problems:
            raise StorageError(
                f"The export at {self.out} is not sound: {', '.join(problems)}; "
                f"{'; '.join(remedies)}"
            )


def check_export(options: ExportCheckOptions, progress: Progress | None = None) -> ExportCheck:
    """Read all files of an export, and compare them with what was written.

    Labels are looked for, too: their files, or their members and columns in tar and Parquet files.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The folder holds no export.
        StorageError: A file cannot be read.
    """
    progress = progress or SilentProgress()
    out = options.store(options.out)
    record = read_record(out, ExportRecord)
    files, clashes = ExportFiles(out), Clashes()
    labels = _Labels(record, files)
    pairs, skipped, unsound = 0, 0, list[str]()
    readers = _READERS if record.form == "folder" else _READERS_OF_LARGE_FILES
    with ThreadPoolExecutor(readers) as pool:
        for marker in read_markers(out):
            pairs, skipped = pairs + marker.pairs, skipped + len(marker.skipped)
            samples = files.read(marker.files, pool)
            if labels.add(marker, samples) or len(samples) < len(marker.files):
                unsound.append(marker_key(marker.shard))
            _add_names(clashes, record, marker, samples)
            progress.steps(files.count, files.expected, "files")
        files.read(read_shared(out).files, pool)
    labels.add_list()
    return ExportCheck(
        out=out.url,
        run=record.run_name,
        pairs=pairs,
        skipped=skipped,
        unfinished=record.rows - pairs - skipped,
        files=files.count,
        size=files.size,
        labels=labels.found,
        unlabelled=pairs - labels.found - len(labels.lost),
        missing=files.missing,
        changed=files.changed,
        foreign=sorted(files.unknown),
        lost_labels=labels.lost,
        unsound=unsound,
        clashes=list(clashes.found()),
    )


def _name_in_files(record: ExportRecord, pair_id: str) -> str:
    """Return the name of a pair in tar or Parquet files."""
    return sample_key(pair_id) if record.form == "webdataset" else pair_id


class _Labels:
    """Finds out whether labels are where the records of an export say."""

    def __init__(self, record: ExportRecord, files: ExportFiles) -> None:
        self._record, self._files = record, files
        self._there: dict[str, bool] = {}

    @property
    def found(self) -> int:
        """Number of pairs whose label is there."""
        return sum(self._there.values())

    @property
    def lost(self) -> list[str]:
        """Pairs whose label is not."""
        return [pair_id for pair_id, there in self._there.items() if not there]

    def add(self, marker: ExportedShard, samples: Mapping[str, Sequence[Sample]]) -> bool:
        """Look for the labels of a shard, and return whether one is lost.

        Args:
            marker: What was written.
            samples: The samples of its sound files.
        """
        held = {key: {s.name for s in some if s.labelled} for key, some in samples.items()}
        for pair_id, label in marker.labels.items():
            if self._record.form == "folder":
                self._there[pair_id] = label.key in self._files.sound
            else:
                names = held.get(label.key, set())
                self._there[pair_id] = _name_in_files(self._record, pair_id) in names
        return not all(self._there[pair_id] for pair_id in marker.labels)

    def add_list(self) -> None:
        """Look for the labels that labels.csv lists besides: those in COCO files."""
        if LABELS_KEY not in self._files.sound:
            return
        images: dict[str, set[str]] = {}
        rows = csv.DictReader(io.StringIO(self._files.read_again(LABELS_KEY).decode(), newline=""))
        for row in rows:
            pair_id, key = row["pair_id"], row["label"]
            if row["status"] != "found" or pair_id in self._there:
                continue
            there = key in self._files.sound
            if there and row["label_of"] == COCO:
                if key not in images:
                    images[key] = images_of_coco(self._files.read_again(key))
                there = row["image"] in images[key]
            self._there[pair_id] = there


def _add_names(
    clashes: Clashes,
    record: ExportRecord,
    marker: ExportedShard,
    samples: Mapping[str, Sequence[Sample]],
) -> None:
    """Add the names of a shard's files, and of the pairs in them."""
    if record.form == "folder":
        for pair_id, key in marker.images.items():
            clashes.add(key, [pair_id])
        for pair_id, label in marker.labels.items():
            clashes.add(label.key, [pair_id])
        return
    for file in marker.files:
        clashes.add(file.key)
    exact = record.form == "hf"  # pairs are in rows, not in files of their own
    pairs = {_name_in_files(record, pair_id): pair_id for pair_id in marker.images}
    for pair_id in marker.images:
        clashes.add(_name_in_files(record, pair_id), [pair_id], exact=exact)
    for name, count in Counter(s.name for some in samples.values() for s in some).items():
        for _ in range(count - 1):
            clashes.add(name, [pairs.get(name, name)], exact=exact)
