"""Check of an export: its files are read and compared with what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict

from cluster.storage import Store, read_record
from fusion_core.errors import NotFoundError, StorageError
from jobs.export.names import RESERVED
from jobs.export.record import ExportedFile, ExportRecord, read_markers, read_shared
from jobs.options import ExportCheckOptions
from jobs.progress import Progress, SilentProgress

_READERS = 8


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
    missing: list[str]
    """Files that are not there any more."""
    changed: list[str]
    """Files whose content is not what was written."""
    foreign: list[str]
    """Files that the export has not written."""

    def require_sound(self) -> None:
        """Raise an error if files are missing, changed or foreign.

        Raises:
            StorageError: There are such files.
        """
        kinds = {"missing": self.missing, "changed": self.changed, "foreign": self.foreign}
        counts = [f"{len(keys)} {kind}" for kind, keys in kinds.items() if keys]
        if counts:
            raise StorageError(
                f"The export at {self.out} is not what was written: {', '.join(counts)} files; "
                f"remove foreign files, and to write a shard anew, remove its marker in "
                f"{RESERVED}/done and export again"
            )


def check_export(options: ExportCheckOptions, progress: Progress | None = None) -> ExportCheck:
    """Read all files of an export, and compare them with what was written.

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
    entries = {entry.key for entry in out.entries()}
    pairs = skipped = size = files = 0
    missing, changed = list[str](), list[str]()
    unknown = {key for key in entries if key.partition("/")[0] != RESERVED}

    def groups() -> Iterator[list[ExportedFile]]:
        nonlocal pairs, skipped
        for marker in read_markers(out):
            pairs, skipped = pairs + marker.pairs, skipped + len(marker.skipped)
            yield marker.files
        yield read_shared(out).files

    with ThreadPoolExecutor(_READERS) as pool:
        for group in groups():
            size, files = size + sum(file.bytes for file in group), files + len(group)
            unknown.difference_update(file.key for file in group)
            present = [file for file in group if file.key in entries]
            missing += [file.key for file in group if file.key not in entries]
            sound = pool.map(lambda file: _is_sound(out, file), present)
            changed += [file.key for file, ok in zip(present, sound, strict=True) if not ok]
            progress.steps(files, len(entries), "files")
    return ExportCheck(
        out=out.url,
        run=record.run_name,
        pairs=pairs,
        skipped=skipped,
        unfinished=record.rows - pairs - skipped,
        files=files,
        size=size,
        missing=missing,
        changed=changed,
        foreign=sorted(unknown),
    )


def _is_sound(out: Store, file: ExportedFile) -> bool:
    try:
        data = out.read(file.key)
    except NotFoundError:
        return False
    return len(data) == file.bytes and hashlib.sha256(data).hexdigest() == file.sha256
