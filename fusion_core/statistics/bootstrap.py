"""Bootstrap intervals of the mean (Efron 1979) over any number of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_BOOTSTRAP_SEED = 20190519
_BOOTSTRAP_DRAWS = 50_000_000
_MOST_RESAMPLES, _LEAST_RESAMPLES = 2000, 200
_BLOCK_PAIRS = 1 << 14


class Column(Protocol):
    """The values of one metric, which are read in slices from an array or a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.float64]: ...


def bootstrap_intervals(columns: Sequence[Column]) -> list[tuple[float, float] | None]:
    """Return the 95 % percentile bootstrap interval of each column's mean (Efron 1979).

    Args:
        columns: One column per metric, over the same pairs; NaN if undefined. They are read in
            slices, so that they need not be in memory. Pairs are resampled jointly for all
            columns, with a fixed seed: 2000 times, or for more than 25,000 pairs as often as 5e7
            draws allow, but at least 200 times.

    Returns:
        Lower and upper end for each column; None where fewer than two pairs have a value.
    """
    if not columns or len(columns[0]) < 2:
        return [None] * len(columns)
    pairs = len(columns[0])
    resamples = int(np.clip(_BOOTSTRAP_DRAWS // pairs, _LEAST_RESAMPLES, _MOST_RESAMPLES))
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    sums = np.zeros((resamples, len(columns)))
    counts = np.zeros_like(sums)
    known = np.zeros(len(columns), dtype=np.int64)
    for start, drawn in _draws_of_blocks(pairs, resamples, generator):
        block = np.stack([column[start : start + _BLOCK_PAIRS] for column in columns], axis=1)
        defined = ~np.isnan(block)
        block[~defined] = 0.0
        known += defined.sum(axis=0)
        with_gaps = np.flatnonzero(~defined.all(axis=0))
        gaps = (~defined[:, with_gaps]).astype(np.float64)
        for index, number in enumerate(drawn):
            places = generator.integers(0, len(block), number)
            weights = np.bincount(places, minlength=len(block)).astype(np.float64)
            sums[index] += weights @ block
            counts[index] += number
            if len(with_gaps):
                counts[index, with_gaps] -= weights @ gaps
    intervals: list[tuple[float, float] | None] = []
    for column, values in enumerate(known):
        if values < 2:
            intervals.append(None)
            continue
        usable = counts[:, column] > 0  # a resample without any value has no mean
        means = sums[usable, column] / counts[usable, column]
        low, high = np.quantile(means, (0.025, 0.975))
        intervals.append((float(low), float(high)))
    return intervals


def _draws_of_blocks(
    pairs: int, resamples: int, generator: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the start of each block of pairs, and the number of draws of each resample in it.

    Drawing these numbers first, and then the pairs within each block, is equivalent to drawing from
    all pairs.
    """
    left = np.full(resamples, pairs)
    for start in range(0, pairs, _BLOCK_PAIRS):
        behind = pairs - start
        if behind <= _BLOCK_PAIRS:
            yield start, left
            return
        drawn = generator.binomial(left, _BLOCK_PAIRS / behind)
        yield start, drawn
        left = left - drawn
