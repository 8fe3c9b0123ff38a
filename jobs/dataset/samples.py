"""The samples of datasets: rows of runs with their decoded images."""

from __future__ import annotations

import math
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from cluster.collections import FrozenManifest, PairRow
from cluster.runs.image_reader import ImageReader
from cluster.runs.index import RunIndex, ShardIndex, open_index
from cluster.runs.record import RunRecord
from cluster.storage import Reader, Store
from fusion_core.errors import ImageDecodeError, InvalidValueError, NotFoundError, StorageError
from fusion_core.images import Pixels, decode_image, decode_pair, luma, to_eight_bit
from fusion_core.suggestions import unknown_name

Sample = dict[str, Any]
Transform = Callable[[Sample], Any]
Runs = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
COLUMNS = ("fused", "pair_id", "subset", "run", "metrics")
_STORED = ("pair_id", "subset")


class RunSamples:
    """Makes samples of the rows of one run.

    Args:
        index: The run.
        label: Value of the column `run`.
        columns: The columns of a sample.
        sources: Whether samples contain the infrared and the visible image.
        labels: Whether samples contain the label file.
        channels: Number of channels of the fused image; None leaves it as it is.
        cache: Folder on local disk to which shards are copied.
    """

    def __init__(
        self,
        index: RunIndex,
        label: str,
        columns: Sequence[str],
        *,
        sources: bool,
        labels: bool,
        channels: Literal[1, 3] | None,
        cache: str | None,
    ) -> None:
        self.index, self._label, self._columns = index, label, tuple(columns)
        self._sources, self._labels, self._channels = sources, labels, channels
        self._metrics = index.record.metrics if "metrics" in columns else []
        self._cache = cache
        self._open()

    def _open(self) -> None:
        """Open the files of this process."""
        self._process = os.getpid()
        record, out = self.record, Store(self.index.out.url, self.index.out.storage_options)
        self.reader = ImageReader(out, record, [*_STORED, *self._metrics], self._cache)
        self._files = Reader(out.storage_options, max_pixels=record.max_pixels)
        self._manifest: FrozenManifest | None = None

    def __getstate__(self) -> dict[str, Any]:
        closed = dict.fromkeys(("reader", "_files", "_manifest", "_process"))
        return {**self.__dict__, **closed}

    def adopt_process(self) -> None:
        """Open the files anew in a process that was forked, such as a worker of a `DataLoader`.

        Neither positions in open files nor connections can be shared between processes.
        """
        if self._process != os.getpid():
            self._open()

    @property
    def record(self) -> RunRecord:
        """Record of the run."""
        return self.index.record

    def make(self, shard: ShardIndex, offset: int, image: bytes | None = None) -> Sample:
        """Return the sample of a row.

        Args:
            shard: The shard of the row.
            offset: Number of the row in its shard.
            image: The file of the fused image, if it has been read already.

        Raises:
            StorageError: The row or an image is damaged or cannot be read; the message names them.
        """
        row = self.reader.row(shard, offset)
        where = f"the pair {row['pair_id']!r} (shard {shard.shard}, row {offset})"
        sample: Sample = {}
        for column in self._columns:
            if column == "fused":
                data = self.reader.image(shard, offset) if image is None else image
                sample[column] = self._fused(data, where)
            elif column == "run":
                sample[column] = self._label
            elif column == "metrics":
                values = {name: row[name] for name in self._metrics}
                sample[column] = {n: math.nan if v is None else v for n, v in values.items()}
            else:
                sample[column] = row[column]
        if self._sources or self._labels:
            self._add_files(sample, self._pair(shard, offset), where)
        return sample

    def _pair(self, shard: ShardIndex, offset: int) -> PairRow:
        if self._manifest is None:
            out = self.index.out
            self._manifest = FrozenManifest(Store(out.url, out.storage_options))
        position = shard.shard * self.record.shard_size + offset
        return self._manifest.read(position, position + 1)[0]

    def _add_files(self, sample: Sample, pair: PairRow, where: str) -> None:
        if self._sources:
            sample |= self._decode_sources(pair, where)
        if self._labels:
            uri = pair.label_uri
            sample["label"] = self._files.read(uri) if uri else b""
            sample["label_name"] = posixpath.basename(uri)

    def _fused(self, data: bytes, where: str) -> torch.Tensor:
        try:
            image = to_eight_bit(decode_image(data, max_pixels=self.record.max_pixels))
        except ImageDecodeError as error:
            raise StorageError(f"The fused image of {where} cannot be read: {error}") from None
        if self._channels == 1 and image.ndim == 3:
            image = luma(image)
        if self._channels == 3 and image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return to_tensor(image)

    def _decode_sources(self, pair: PairRow, where: str) -> dict[str, torch.Tensor]:
        record, read = self.record, self._files.read
        both = pair.ir_uri == pair.vis_uri
        try:
            ir, vis = decode_pair(
                read(pair.ir_uri),
                None if both else read(pair.vis_uri),
                record.bands,
                max_pixels=record.max_pixels,
            )
            images = {"infrared": ir, "visible": vis}
            for name, uri in pair.sources.items():
                if name not in images:
                    images[name] = decode_image(read(uri), max_pixels=record.max_pixels)
        except ImageDecodeError as error:
            raise StorageError(f"A source of {where} cannot be read: {error}") from None
        return {name: self._source_tensor(image) for name, image in images.items()}

    def _source_tensor(self, image: Pixels) -> torch.Tensor:
        return to_tensor(to_eight_bit(image, self.record.origin.sixteen_bit))


def to_tensor(image: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """Return an image `(H, W)` or `(H, W, 3)` as a tensor `(C, H, W)`."""
    if not image.flags.writeable:
        image = image.copy()
    tensor = torch.from_numpy(image)
    return tensor[None] if image.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def open_runs(
    runs: Runs,
    *,
    where: str | None,
    columns: Sequence[str],
    sources: bool,
    labels: bool,
    channels: Literal[1, 3] | None,
    complete: bool,
    storage_options: Mapping[str, Any] | None,
    cache: str | Path | None,
) -> list[RunSamples]:
    """Open the runs of a dataset.

    Raises:
        InvalidValueError: A column is unknown, two runs have the same name, or the condition cannot
            be evaluated.
        NotFoundError: There is no run, it holds no images, or it is not finished.
        StorageError: A run cannot be read.
    """
    for column in columns:
        if column not in COLUMNS:
            raise InvalidValueError(unknown_name("column", column, COLUMNS))
    found: dict[str, RunSamples] = {}
    for label, url in _labelled(runs):
        index = _open_index(url, storage_options, where)
        if complete and not index.complete:
            raise NotFoundError(
                f"The run at {index.out.url} is not finished: {len(index.shards)} of "
                f"{index.record.plan.count} shards are committed; resume it, or pass "
                "complete=False to use what there is"
            )
        name = index.record.name if label is None else label
        if name in found:
            raise InvalidValueError(
                f"Two runs are named {name!r}; pass a mapping from names to their locations"
            )
        found[name] = RunSamples(
            index,
            name,
            columns,
            sources=sources,
            labels=labels,
            channels=channels,
            cache=None if cache is None else str(cache),
        )
    return list(found.values())


def _open_index(url: str, storage_options: Mapping[str, Any] | None, where: str | None) -> RunIndex:
    """Open the index of a run without obstore, so that processes that are forked later can use it.

    Workers of a `DataLoader` are forked by default where Python does so, and read all the images.
    """
    index = open_index(Store(url, {**(storage_options or {}), "obstore": False}), where)
    return replace(index, out=Store(url, storage_options))


def _labelled(runs: Runs) -> list[tuple[str | None, str]]:
    if isinstance(runs, Mapping):
        return [(label, str(url)) for label, url in runs.items()]
    urls = [runs] if isinstance(runs, (str, Path)) else list(runs)
    return [(None, str(url)) for url in urls]
