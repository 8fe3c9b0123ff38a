"""The files of one shard of a run, written before the marker that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fusion_core.errors import NotFoundError
from jobs.export.labels import LabelFinder, label_key, largest_class, rewrite_label
from jobs.export.names import Namer, check_key, namer_of, source_keys
from jobs.export.preparing import Target
from jobs.export.reading import ReadPair, RunImages
from jobs.export.record import (
    SCRATCH,
    ExportedFile,
    ExportedShard,
    LabelOf,
    SkippedPair,
    Written,
    describe_file,
)
from jobs.options import Preset


class ShardExporter:
    """Writes the files of single shards; several threads may use one.

    Args:
        target: The run and the folder.
        labels: What finds the labels.
    """

    def __init__(self, target: Target, labels: LabelFinder) -> None:
        self._target, self._out, self._export = target, target.out, target.export
        self._images = RunImages(target.run, target.record, target.export, target.splits)
        self.labels = labels
        self.namer: Namer = namer_of(self._export.preset, self._export.name, self._export.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardExporter, (self._target, self.labels)

    def at(self, target: Target) -> ShardExporter:
        """Return what writes the same files to another folder."""
        return ShardExporter(target, self.labels)

    def export(self, shard: int) -> ExportedShard:
        """Write the files of a shard, and then its marker.

        Raises:
            DamagedShardError: The shard is damaged.
            StorageError: The shard or a file cannot be read, or a file cannot be written.
        """
        files, written, content = list[ExportedFile](), Written(), ""
        for digest, pairs in self._images.groups(shard):
            content = digest
            objects: dict[str, bytes] = {}
            for pair in pairs:
                if isinstance(pair, SkippedPair):
                    written.skipped.append(pair)
                else:
                    objects.update(self._files(pair, written))
            self._out.write_all(objects, scratch=SCRATCH)
            files += [describe_file(key, data) for key, data in objects.items()]
        return written.mark(self._out, shard, content, files)

    def _files(self, read: ReadPair, written: Written) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of each file of a pair."""
        pair = read.pair
        key = self.namer(pair, read.extension)
        check_key(key, pair.pair_id)
        written.images[pair.pair_id] = key
        yield key, read.data
        yield from self._label(read, key, written)
        if self._export.with_sources:
            root = self._export.root
            keys = source_keys(read.located, key, preset=self._preset, root=root)
            for source_key, uri in keys.items():
                check_key(source_key, pair.pair_id)
                yield source_key, self._images.read_source(read.located, uri)

    @property
    def _preset(self) -> Preset | None:
        return self._export.preset if self._export.name is None else None

    def _label(
        self, read: ReadPair, fused_key: str, written: Written
    ) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of a pair's label, if it has one and it can be found."""
        label = self.labels.find(read.located)
        if label is None:
            return
        try:
            data = self._images.files.read(label.uri)
        except NotFoundError:
            return  # it is listed as missing
        pair_id = read.pair.pair_id
        key = label_key(label, read.pair, fused_key, preset=self._preset, root=self._export.root)
        check_key(key, pair_id)
        written.labels[pair_id] = LabelOf(key=key, source=label.source)
        if label.extension == "txt":
            written.classes += [n for n in (largest_class(data),) if n is not None]
        yield key, rewrite_label(data, label.extension, fused_key)
