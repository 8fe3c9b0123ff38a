"""What the driver and its workers send each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cluster.runs.metering import WorkDone
from cluster.runs.score_parts import ShardScores
from cluster.session import Software


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Software and node of a worker, reported when it is ready."""

    software: Software
    node: str
    node_id: str
    memory_kills: int | None
    """Result of `count_memory_kills` on the node."""
    warnings: tuple[str, ...] = ()
    """What users should know of its node."""


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """What a worker has completed since its start."""

    activity: str
    """What it does until it is ready."""
    steps: int
    pairs: int
    memory_kills: int | None
    """Result of `count_memory_kills` on the node."""
    counted: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Number of the first pairs that need not be counted again, by run and shard."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to compute: all of its rows, or only the failed ones."""

    shard: int
    attempt: int = 1
    failed_only: bool = False
    run: int = 0
    """The run: 0, or from 1 the place of a companion in the settings of the worker."""
    also: tuple[int, ...] = ()
    """Further runs whose same shard is computed at the same time."""
    counted: int = 0
    """Number of the first rows to compute that a worker has counted before it died."""

    def single(self) -> list[ShardTask]:
        """Return one task for each run."""
        return [replace(self, run=run, also=()) for run in (self.run, *self.also)]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """Report of a committed shard."""

    shard: int
    rows: int
    failed: Mapping[str, int]
    """Number of failed rows of the shard per stage."""
    computed: int
    """Number of newly computed rows; less than `rows` if only failed rows were computed."""
    run: int = 0
    """The run, as in the task."""
    work: WorkDone = field(default_factory=WorkDone)
    scores: ShardScores | None = None
    """Its rows without images; None if the store does not tell the version of the shard."""
