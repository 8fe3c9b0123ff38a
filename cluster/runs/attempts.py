"""The record of an attempt: what one start of the driver did for a run, and how it ended.

`OUT/attempts/TIME-ID.json` is written when workers are about to be started, every five minutes, and
at the end. It is for people and for `irfuse status` and `irfuse runs`: nothing that decides which
pairs are computed reads it, and deleting it changes no result. A driver that is killed leaves a
record whose `exit` is null.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.runs.stage_names import Stage
from cluster.storage import Store

ATTEMPTS_PREFIX = "attempts"
WRITE_EVERY_S = 300.0
"""Seconds between two writes of the record of a running attempt."""

DeathReason = Literal["crash", "hung", "node", "memory"]
"""Why a worker died: by itself, without progress, with its node, or for lack of memory."""


class _Part(BaseModel):
    """Base of the parts of a record; fields of later versions of irfuse are ignored."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class ClusterResources(_Part):
    """The resources of the cluster when the attempt began."""

    nodes: int
    cpus: float
    gpus: float
    memory_bytes: float
    """Memory that Ray's nodes offer to their workers."""
    local: bool
    """Whether Ray was started on this machine for this command alone."""


class NodeSoftware(_Part):
    """The versions on a node that has computed."""

    irfuse: str
    torch: str
    ray: str
    python: str


class WorkerCount(_Part):
    """The workers from one moment until the next count."""

    at: datetime
    ready: int
    starting: int
    nodes: dict[str, int] = Field(default_factory=dict)
    """Workers that are ready, by the host names of their nodes."""

    def seconds_until(self, end: datetime) -> float:
        """Return the seconds for which workers were ready, summed over the workers."""
        return self.ready * (end - self.at).total_seconds()


class DeathRecord(_Part):
    """The death of one worker."""

    at: datetime
    reason: DeathReason
    node: str | None
    """Host name of its node; None if it died before it was ready."""
    shards: list[int]
    """Shards that it was computing."""
    message: str


class FirstFailure(_Part):
    """The first failure of its kind, with its traceback."""

    at: datetime
    stage: Stage
    type: str
    """Class of the error."""
    message: str
    pair_id: str
    node: str
    traceback: str


class Attempt(_Part):
    """The content of a record of an attempt.

    Counts are those of this attempt alone, up to the time `updated`. Bytes and compute-seconds are
    those that workers have reported with the shards that they have committed.
    """

    id: str
    """Name of the record: the time of the start, and four random digits."""
    run: str
    """Fingerprint of the settings of the run."""
    argv: list[str]
    """The command with its options, without secrets."""
    host: str
    """Host name of the driver."""
    pid: int
    irfuse: str
    """Version of irfuse."""
    device: Literal["cpu", "cuda"] | None = None
    """Device of the workers."""
    cluster: ClusterResources | None = None
    nodes: dict[str, NodeSoftware] = Field(default_factory=dict)
    """Software of the nodes that have computed, by their host names."""

    started: datetime
    updated: datetime
    """Time of the last write."""
    ended: datetime | None = None
    """Time of the end; None while the attempt runs, and if its driver was killed."""
    last_commit: datetime | None = None
    """Time of the last commit of a shard."""
    seconds: float = 0.0
    """Length of the attempt until `updated`, by a clock that is never set."""

    planned: int
    """Rows that remained to be computed."""
    rows: int = 0
    """Rows that were computed and committed."""
    failed: int = 0
    """Failed rows among them."""
    shards: int = 0
    """Shards that were committed."""
    bytes_read: int = 0
    """Bytes of sources that were read."""
    bytes_written: int = 0
    """Bytes of shards that were written."""
    megapixels: float = 0.0
    """Width times height of the pairs that were computed."""
    compute_seconds: float = 0.0
    """Seconds of all workers in the stages of their pairs that compute: fuse and score."""
    storage_retries: dict[str, int] = Field(default_factory=dict)
    """Number of repeated requests by operation and code, as in `read 503`."""
    workers: list[WorkerCount] = Field(default_factory=list)
    """The workers over time, one entry for each of the last changes."""
    earlier_worker_seconds: float = 0.0
    """Seconds for which workers were ready before the first of these entries, summed over all
    workers."""
    deaths: dict[DeathReason, int] = Field(default_factory=dict)
    """Number of workers that died, by reason."""
    death_records: list[DeathRecord] = Field(default_factory=list)
    """The last deaths."""
    first_failures: list[FirstFailure] = Field(default_factory=list)
    """The first failure of each stage and class."""
    exit: int | None = None
    """Exit status; None while the attempt runs, and if its driver was killed."""
    error: str | None = None
    """The error that ended the attempt."""

    @property
    def key(self) -> str:
        """Key of the record in the output location."""
        return f"{ATTEMPTS_PREFIX}/{self.id}.json"

    @property
    def core_seconds(self) -> float:
        """Seconds for which workers were ready, summed over all workers."""
        times = [count.at for count in self.workers] + [self.ended or self.updated]
        return self.earlier_worker_seconds + sum(
            count.seconds_until(end) for count, end in zip(self.workers, times[1:], strict=True)
        )


def new_attempt_id(now: datetime | None = None) -> str:
    """Return the name of a record; names of later attempts are greater."""
    at = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{at:%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(2)}"


def read_attempts(out: Store, keys: Iterable[str] | None = None) -> list[Attempt]:
    """Return the records of all attempts of a run, the oldest first.

    A record that cannot be understood, such as that of a later version of irfuse, is left out.

    Args:
        out: Output location of the run.
        keys: Keys of its objects, if they have been listed already; others are left out.

    Raises:
        StorageError: A record cannot be read.
    """
    if keys is None:
        keys = (entry.key for entry in out.entries(ATTEMPTS_PREFIX))
    return list(_read(out, sorted(key for key in keys if key.startswith(f"{ATTEMPTS_PREFIX}/"))))


def newest_attempt(out: Store) -> Attempt | None:
    """Return the record of the last attempt of a run, or None if there is none.

    Raises:
        StorageError: A record cannot be read.
    """
    keys = sorted((entry.key for entry in out.entries(ATTEMPTS_PREFIX)), reverse=True)
    return next(_read(out, keys), None)


def _read(out: Store, keys: list[str]) -> Iterator[Attempt]:
    for key in keys:
        if key.endswith(".json"):
            try:
                yield Attempt.model_validate_json(out.read(key))
            except ValidationError:
                continue
