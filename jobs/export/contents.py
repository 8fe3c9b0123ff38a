"""What the files of an export hold, and whether they are what was written."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple

import pyarrow.parquet as pq

from cluster.storage import Store
from fusion_core.errors import NotFoundError
from jobs.export.names import RESERVED
from jobs.export.record import ExportedFile

_LABEL_COLUMNS = {"objects": "objects.category", "mask": "mask.path"}
"""Columns of labels, and what is read of each to see whether a row has one."""


class Sample(NamedTuple):
    """A pair in a tar or Parquet file."""

    name: str
    """Its key in tar files; its `pair_id` in Parquet files."""
    labelled: bool
    """Whether it has a label."""


def samples_of_tar(data: bytes) -> list[Sample]:
    """Return the samples of a tar file for WebDataset.

    Args:
        data: The file; the members of a sample are adjacent and begin with the fused image.
    """
    samples: list[Sample] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            if ending.startswith("fused."):
                samples.append(Sample(key, labelled=False))
            elif ending.startswith("label.") and samples and samples[-1].name == key:
                samples[-1] = Sample(key, labelled=True)
    return samples


def samples_of_parquet(data: bytes) -> list[Sample]:
    """Return the rows of a Parquet file for Hugging Face; its images are not decoded."""
    parquet = pq.ParquetFile(io.BytesIO(data))
    names = [name for name in _LABEL_COLUMNS if name in parquet.schema_arrow.names]
    table = parquet.read(columns=["pair_id", *(_LABEL_COLUMNS[name] for name in names)])
    columns = [table.column(name).is_valid().to_pylist() for name in names]
    labelled = map(any, zip(*columns, strict=True)) if columns else [False] * len(table)
    return list(map(Sample, table.column("pair_id").to_pylist(), labelled))


def images_of_coco(data: bytes) -> set[str]:
    """Return the keys of the images that a COCO file names."""
    return {image["file_name"] for image in json.loads(data)["images"]}


_SAMPLES: dict[str, Callable[[bytes], list[Sample]]] = {
    ".tar": samples_of_tar,
    ".parquet": samples_of_parquet,
}
"""Functions that return the samples of a file, by its extension."""


class ExportFiles:
    """Reads the files of an export, and compares them with what was written.

    Args:
        out: Folder of the export.
    """

    def __init__(self, out: Store) -> None:
        self._out = out
        self._present = {entry.key for entry in out.entries()}
        self.unknown = {key for key in self._present if key.partition("/")[0] != RESERVED}
        """Keys of the files that the export has not written, when all files have been read."""
        self.expected = len(self._present)
        """Number of files to read, about."""
        self.sound: set[str] = set()
        """Keys of the files that are what was written."""
        self.missing, self.changed = list[str](), list[str]()
        """Keys of those that are not there, or not what was written."""
        self.count = self.size = 0
        """Number and bytes of the files that were written."""

    def read(
        self, files: Sequence[ExportedFile], pool: ThreadPoolExecutor
    ) -> dict[str, list[Sample]]:
        """Read files, and return the samples of sound tar and Parquet files."""
        self.count, self.size = self.count + len(files), self.size + sum(f.bytes for f in files)
        self.unknown.difference_update(file.key for file in files)
        self.missing += [file.key for file in files if file.key not in self._present]
        present = [file for file in files if file.key in self._present]
        samples = {}
        read = pool.map(_read_file, repeat(self._out), present)
        for file, found in zip(present, read, strict=True):
            if found is None:
                self.changed.append(file.key)
            else:
                self.sound.add(file.key)
                samples[file.key] = found
        return samples

    def read_again(self, key: str) -> bytes:
        """Return a sound file."""
        return self._out.read(key)


def _read_file(out: Store, file: ExportedFile) -> list[Sample] | None:
    """Return the samples of a file, none for other files; None if it is not what was written."""
    try:
        data = out.read(file.key)
    except NotFoundError:
        return None
    if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        return None
    samples_of = _SAMPLES.get(posixpath.splitext(file.key)[1])
    return [] if samples_of is None else samples_of(data)
