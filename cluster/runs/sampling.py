"""The measurement of some pairs of a run, which writes nothing.

The pairs are computed as a worker of the run computes them: two parts at the same time, each of
which becomes the bytes of a shard. What they take is what the run takes, apart from writing.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cluster.collections import PairRow
from cluster.runs.pair_state import Failure
from cluster.runs.record import RunRecord
from cluster.runs.rows import TIMED_STAGES
from cluster.runs.shard_file import encode_shard

if TYPE_CHECKING:
    from cluster.runs.stages import PairStages
    from cluster.session import WorkerResources


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """What was measured of some pairs that were computed together."""

    compute_ms: list[float]
    """Time of each good pair for fusing and scoring."""
    stages_ms: Mapping[str, float]
    """Time of each stage, summed over all pairs."""
    megapixels: float
    """Width times height of all good pairs."""
    failures: Mapping[str, Failure]
    """The failed pairs with the reasons."""
    shard_bytes: int
    """Bytes of the shard that these pairs make."""
    image_bytes: int
    """Bytes of the fused images in it."""
    overhead_bytes: int
    """Bytes of a shard besides its images, with a single row."""
    memory_bytes: int
    """Largest memory that the process has taken so far."""


def measure_part(stages: PairStages, record: RunRecord, pairs: Sequence[PairRow]) -> MeasuredPart:
    """Compute pairs, make a shard of them, and return what that took.

    Args:
        stages: The loaded stages of a run.
        record: The record of the run.
        pairs: One pair or more.
    """
    rows = dict(enumerate(pairs))
    computed = list(stages.compute(rows, dict.fromkeys(rows, 1)).values())
    good = [row for row in computed if row["status"] == "ok"]
    smallest = min(computed, key=_image_bytes)
    return MeasuredPart(
        compute_ms=[(r["fuse_ms"] or 0.0) + (r["score_ms"] or 0.0) for r in good],
        stages_ms={s: sum(r[f"{s}_ms"] or 0.0 for r in computed) for s in TIMED_STAGES},
        megapixels=sum(r["width"] * r["height"] for r in good) / 1e6,
        failures={
            r["pair_id"]: Failure(r["error_stage"], r["error_type"], r["error_message"])
            for r in computed
            if r["status"] == "failed"
        },
        shard_bytes=_shard_bytes(record, computed),
        image_bytes=sum(map(_image_bytes, computed)),
        overhead_bytes=_shard_bytes(record, [smallest]) - _image_bytes(smallest),
        memory_bytes=_peak_memory(),
    )


def _shard_bytes(record: RunRecord, rows: Sequence[Mapping[str, Any]]) -> int:
    now = datetime.now(UTC)
    return len(
        encode_shard(
            rows,
            record.metrics,
            fingerprint=record.fingerprint,
            shard=0,
            started=now,
            committed=now,
        )
    )


def _image_bytes(row: Mapping[str, Any]) -> int:
    return len((row["fused"] or {}).get("bytes") or b"")


def _peak_memory() -> int:
    """Return the largest resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of some pairs on the cluster of a run."""

    pairs: int
    seconds: float
    """Time from the start of all pairs until the end."""
    start_s: float
    """Time until the workers were ready and had computed a first pair each, without `kernels_s`."""
    kernels_s: float
    """Time in which workers compiled kernels, which those of the run load from disk."""
    parts: list[MeasuredPart]
    together: int
    """Number of workers that computed at the same time."""
    workers: int
    """Number of workers that the run would have now."""
    resources: WorkerResources
    """What a worker requests of Ray."""
    ray: str
    """Version of Ray on the nodes."""

    @property
    def failures(self) -> dict[str, Failure]:
        """The failed pairs with the reasons."""
        return {name: failure for part in self.parts for name, failure in part.failures.items()}

    @property
    def compute_ms(self) -> list[float]:
        """Time of each good pair for fusing and scoring."""
        return [spent for part in self.parts for spent in part.compute_ms]

    @property
    def megapixels(self) -> float:
        """Mean width times height of the good pairs."""
        return sum(part.megapixels for part in self.parts) / max(1, len(self.compute_ms))

    @property
    def stages_ms(self) -> dict[str, float]:
        """Mean time of a pair in each stage."""
        return {
            stage: sum(part.stages_ms[stage] for part in self.parts) / self.pairs
            for stage in TIMED_STAGES
        }

    @property
    def memory_bytes(self) -> int:
        """Largest memory that a worker has taken."""
        return max(part.memory_bytes for part in self.parts)

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a shard besides its images, with a single row."""
        return max(part.overhead_bytes for part in self.parts)

    @property
    def image_bytes(self) -> float:
        """Mean bytes of a fused image, failed pairs included."""
        return sum(part.image_bytes for part in self.parts) / self.pairs

    @property
    def row_bytes(self) -> float:
        """Bytes of a row besides its image that a shard has for each further row."""
        further = self.pairs - len(self.parts)
        scalars = sum(p.shard_bytes - p.image_bytes - p.overhead_bytes for p in self.parts)
        return max(0.0, scalars / further) if further else 0.0
