"""The estimate of what a run takes, from a sample of its pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from cluster.runs import Sample

_CONFIDENCE = 0.95
_LEAST_UNCERTAINTY = 0.2
"""Relative half-width of the range of an estimate, however little the pairs of a sample differ."""
_SUMMARY_S, _SUMMARY_S_PER_SHARD = 2.0, 0.01
"""Time for the statistics and the preview at the end of a run."""
_OBJECTS = 6
"""Objects of a run besides its shards that are written."""


class Estimate(BaseModel):
    """What a run takes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    seconds: float
    """Time from the start of the command until its end."""
    seconds_low: float
    seconds_high: float
    core_hours: float
    """Hours of all workers together, each with one CPU."""
    workers: int
    bytes_read: int
    """Bytes of the sources."""
    bytes_written: int
    """Bytes of the shards."""
    memory_per_worker: int
    """Bytes that a worker has taken at most in the sample."""
    reads: int
    """Requests that read objects: GET."""
    writes: int
    """Requests that write objects: PUT."""
    price: float | None
    """Price of all workers, if that of one was given."""


@dataclass(frozen=True, slots=True)
class Work:
    """What remains to be computed of a run."""

    rows: int
    shards: int
    rows_per_shard: int
    sources: int
    """Images that are read of a pair."""
    megapixels: float | None
    """Mean size of a pair in a larger sample, of which only the headers were read."""
    bytes_per_pair: float
    """Mean bytes of the sources of a pair."""


def estimate(work: Work, sample: Sample, around_s: float, price: float | None) -> Estimate:
    """Return what a run takes.

    A pair takes time and bytes in proportion to its pixels, which are known of more pairs than were
    computed. The workers compute the same number of shards, but for one.

    Args:
        work: What remains to be computed.
        sample: What was measured of some pairs.
        around_s: Time that passes without workers: listing, connecting, disconnecting.
        price: Price of a worker per hour.
    """
    scale = 1.0
    if work.megapixels and sample.megapixels:
        scale = work.megapixels / sample.megapixels
    workers = max(1, min(sample.workers, work.shards))
    rows = min(work.rows, math.ceil(work.shards / workers) * work.rows_per_shard)
    computing = rows * sample.seconds * sample.together / sample.pairs * scale
    around = around_s + sample.start_s + _SUMMARY_S + _SUMMARY_S_PER_SHARD * work.shards
    spread = max(_LEAST_UNCERTAINTY, _uncertainty(sample.compute_ms))
    seconds = around + computing
    written = (
        work.shards * sample.overhead_bytes
        + work.rows * sample.image_bytes * scale
        + max(0, work.rows - work.shards) * sample.row_bytes
    )
    worker_hours = workers * (sample.start_s + computing) / 3600
    return Estimate(
        seconds=seconds,
        seconds_low=max(around, seconds * (1 - spread)),
        seconds_high=seconds * (1 + spread),
        core_hours=worker_hours,
        workers=workers,
        bytes_read=round(work.rows * work.bytes_per_pair),
        bytes_written=round(written),
        memory_per_worker=sample.memory_bytes,
        reads=work.rows * work.sources + workers,
        writes=work.shards + _OBJECTS,
        price=None if price is None else price * worker_hours,
    )


def add_estimates(estimates: Sequence[Estimate]) -> Estimate | None:
    """Return what several runs take one after the other; None if there are none."""
    if not estimates:
        return None
    names = ("seconds", "seconds_low", "seconds_high", "core_hours", "bytes_read", "bytes_written")
    sums = {name: sum(getattr(e, name) for e in estimates) for name in (*names, "reads", "writes")}
    prices = [e.price for e in estimates if e.price is not None]
    return Estimate(
        **sums,
        workers=max(e.workers for e in estimates),
        memory_per_worker=max(e.memory_per_worker for e in estimates),
        price=sum(prices) if prices else None,
    )


def _uncertainty(values: list[float]) -> float:
    """Return half the width of the interval of the mean of some values, relative to the mean."""
    if len(values) < 2 or not np.mean(values):
        return 1.0
    from scipy import stats  # half a second

    quantile = stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)) / np.mean(values))
