"""Exports whose files are made in memory, each of a group of consecutive shards of the run."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, Protocol, Self, TypeVar

from cluster.collections import PairRow
from cluster.runs import Ledger, row_schema
from fusion_core.errors import NotFoundError
from jobs.export.coco import CocoAnnotations
from jobs.export.labels import COCO, LabelFile, LabelFinder, rewrite_label
from jobs.export.preparing import Target, require_pairs
from jobs.export.reading import ReadPair, RowCondition, RunImages, row_pair
from jobs.export.record import (
    SCRATCH,
    ExportedShard,
    LabelOf,
    SkippedPair,
    Written,
    describe_file,
    written_contents,
)
from jobs.export.writing import ExportPlan


class MemoryFile(Protocol):
    """A file that is made in memory."""

    def close(self) -> bytes:
        """Return the bytes of the file."""


F = TypeVar("F", bound=MemoryFile)


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """What is known of the rows of a finished run."""

    contents: Mapping[int, str]
    """Digest of the rows of each shard."""
    fit: Mapping[int, int]
    """Number of pairs to export of each shard."""


class GroupExporter(ABC, Generic[F]):
    """Writes the files of groups of shards; several threads may use one.

    Args:
        target: The run and the folder, whose record has the groups.
        labels: What finds the labels.
        rows: What is known of the rows of each shard.

    Raises:
        StorageError: A COCO file cannot be read.
    """

    def __init__(self, target: Target, labels: LabelFinder, rows: CheckedRows) -> None:
        self._target, self._labels, self._rows = target, labels, rows
        self._out, self._record, self._export = target.out, target.record, target.export
        self._images = RunImages(target.run, target.record, target.export, target.splits)
        self._coco = CocoAnnotations(labels.coco)
        edges = (*self._export.groups, self._record.plan.count)
        self._groups = [range(first, end) for first, end in pairwise(edges)]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._target, self._labels, self._rows)

    @abstractmethod
    def _key(self, pair: PairRow, group: int) -> str:
        """Return the key of the file that holds a pair of a group."""

    @abstractmethod
    def _new_file(self) -> F:
        """Return an empty file."""

    @abstractmethod
    def _add(self, file: F, read: ReadPair, key: str, written: Written) -> None:
        """Add a pair to its file.

        Raises:
            ManifestError: A label file cannot be read.
            StorageError: A file cannot be read.
        """

    def at(self, target: Target) -> Self:
        """Return what writes the same files to another folder, perhaps in other groups."""
        return type(self)(target, self._labels, self._rows)

    def plan(self) -> ExportPlan:
        """Return the groups that are not written."""
        done = written_contents(self._out)
        todo = [n for n in range(len(self._groups)) if done.get(n) != self._content(n)]
        return ExportPlan(
            target=self._target,
            exporter=self,
            todo=todo,
            shards=[shard for n in todo for shard in self._groups[n]],
            rows=sum(map(self._count, todo)),
            fit=self._rows.fit,
            large_files=True,
        )

    def export(self, group: int) -> ExportedShard:
        """Write the files of a group of shards, and then their marker.

        Raises:
            ManifestError: A label file cannot be read.
            StorageError: A shard or a file cannot be read, or a file cannot be written.
        """
        files, written = dict[str, F](), Written()
        for read in self._pairs(group):
            if isinstance(read, SkippedPair):
                written.skipped.append(read)
                continue
            key = self._key(read.pair, group)
            written.images[read.pair.pair_id] = key
            if key not in files:
                files[key] = self._new_file()
            self._add(files[key], read, key, written)
        objects = {key: file.close() for key, file in files.items()}
        self._out.write_all(objects, scratch=SCRATCH)
        described = [describe_file(key, data) for key, data in objects.items()]
        return written.mark(self._out, group, self._content(group), described)

    def _label(
        self, read: ReadPair, key: str, image: str, written: Written
    ) -> tuple[LabelFile, bytes] | None:
        """Return the label of a pair and its content, or None if it has none that can be found.

        The label of a pair that a COCO file contains is a COCO file of this pair alone.

        Args:
            read: The pair.
            key: Key of the file that holds it.
            image: Name of its fused image, which labels name.
            written: Receives that there is a label.
        """
        pair_id = read.pair.pair_id
        label = self._labels.find(read.located)
        if label is None:
            found = self._coco.find(pair_id, image)
            if found is None:
                return None
            label, data = LabelFile(found[0], "", COCO), found[1]
        else:
            try:
                data = rewrite_label(self._images.files.read(label.uri), label.extension, image)
            except NotFoundError:
                return None  # it counts as missing
        written.labels[pair_id] = LabelOf(key=key, source=label.source)
        return label, data

    def _pairs(self, group: int) -> Iterator[ReadPair | SkippedPair]:
        for shard in self._groups[group]:
            for _, pairs in self._images.groups(shard):
                yield from pairs

    def _count(self, group: int) -> int:
        bounds = [self._record.plan.bounds(shard) for shard in self._groups[group]]
        return bounds[-1][1] - bounds[0][0]

    def _content(self, group: int) -> str:
        digests = "".join(self._rows.contents[shard] for shard in self._groups[group])
        return hashlib.sha256(digests.encode()).hexdigest()


def check_rows(
    target: Target,
    on_rows: Callable[[Sequence[Mapping[str, Any]]], None] = lambda rows: None,
) -> CheckedRows:
    """Check that the run is finished, and that there are pairs to export.

    Args:
        target: The run and the folder.
        on_rows: Called with the rows of each shard, without their images.

    Raises:
        InvalidValueError: No pair fits, or the condition cannot be evaluated.
        NotFoundError: The run is not finished.
    """
    run, record = target.run, target.record
    condition = RowCondition(target.export.where)
    contents, fit = dict[int, str](), dict[int, int]()
    columns = [name for name in row_schema(record.metrics).names if name != "fused"]
    for content in Ledger(run, record).contents(columns):
        assert content.table is not None
        contents[content.shard] = content.facts.content
        fitting = condition.fitting(content.table)
        rows = content.to_rows()
        chosen = (r for r in rows if r["status"] == "ok" and r["pair_id"] in fitting)
        fit[content.shard] = sum(target.splits.place(row_pair(r)) is not None for r in chosen)
        on_rows(rows)
    if len(contents) < record.plan.count:
        raise NotFoundError(
            f"The run at {run.url} is not finished: {len(contents)} of {record.plan.count} shards "
            "are committed; resume it"
        )
    require_pairs(target, sum(fit.values()))
    return CheckedRows(contents, fit)
