"""The fused images of runs as a map-style dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from jobs.dataset.samples import COLUMNS, Runs, Transform, open_runs


class FusedPairs(Dataset[Any]):
    """The fused images of one or several runs, by their number.

    Only pairs with a fused image are in the dataset, in the order of the runs and their manifests.
    The index is read from the ends of the shards, and an image by itself when it is asked for. A
    dataset may be passed to any `DataLoader`; with several ranks, use `DistributedSampler`.

    A sample is a dictionary of

    * `fused`: the fused image, a uint8 tensor `(C, H, W)` with 1 or 3 channels,
    * `pair_id` and `subset`: text,
    * `run`: the name of the run,
    * `metrics`: a dictionary of the scores, NaN where a metric is undefined,
    * with `sources`, `infrared`, `visible` and, of pairs with further sources, `source_3` and so
      on: the sources, like `fused`,
    * with `labels`, `label` and `label_name`: the bytes and the name of the label file, empty if
      the pair has none.

    Args:
        runs: Location of a run, several locations, or a mapping from names to locations.
        where: Condition that rows must fit: SQL over their columns, such as
            `"EN > 6 AND subset = 'train'"`.
        columns: The parts of a sample, of `fused`, `pair_id`, `subset`, `run` and `metrics`.
        transform: Function that is applied to every sample.
        sources: Whether samples contain the sources.
        labels: Whether samples contain the label files.
        channels: Number of channels of `fused`: 3 repeats gray images, and 1 takes the luma of
            colour images. By default, they stay as they are.
        complete: Whether the runs must be finished. Otherwise, the dataset has the pairs that are
            committed now.
        storage_options: Options of fsspec for remote runs.
        cache: Folder on local disk to which shards are copied when they are read first.

    Raises:
        InvalidValueError: A column is unknown, two runs have the same name, or the condition cannot
            be evaluated.
        NotFoundError: There is no run, it holds no images, or it is not finished.
        StorageError: A run cannot be read. While samples are read: an image is damaged; the message
            names its pair, shard and row.

    Example::

        from torch.utils.data import DataLoader
        from irfuse.dataset import FusedPairs

        pairs = FusedPairs("runs/llvip", where="subset = 'train'", channels=3)
        for batch in DataLoader(pairs, batch_size=8, shuffle=True, num_workers=2):
            images = batch["fused"].float() / 255
    """

    def __init__(
        self,
        runs: Runs,
        *,
        where: str | None = None,
        columns: Sequence[str] = COLUMNS,
        transform: Transform | None = None,
        sources: bool = False,
        labels: bool = False,
        channels: Literal[1, 3] | None = None,
        complete: bool = True,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self._runs = open_runs(
            runs,
            where=where,
            columns=columns,
            sources=sources,
            labels=labels,
            channels=channels,
            complete=complete,
            storage_options=storage_options,
            cache=cache,
        )
        self._transform = transform
        self._shards = [(run, shard) for run in self._runs for shard in run.index.shards]
        counts = [len(shard.usable) for _, shard in self._shards]
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> Any:  # noqa: ANN401
        if not -len(self) <= number < len(self):
            raise IndexError(f"Expected a number below {len(self)}, but got {number}")
        number %= len(self)
        place = int(np.searchsorted(self._ends, number, side="right"))
        run, shard = self._shards[place]
        offset = int(shard.usable[number - int(self._ends[place]) + len(shard.usable)])
        run.adopt_process()
        sample = run.make(shard, offset)
        return sample if self._transform is None else self._transform(sample)
