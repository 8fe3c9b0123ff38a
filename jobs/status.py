"""The progress of a run and the reasons of its failed pairs, from its shards and its attempts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cluster.runs import (
    TIMED_STAGES,
    Attempt,
    Damage,
    Ledger,
    Listing,
    RunRecord,
    ShardContent,
    in_stage_order,
)
from cluster.storage import read_record
from fusion_core.errors import RunFailedError
from jobs.options import RunState, StatusOptions
from jobs.progress import Progress
from jobs.run_state import find_attempts, reason_of, state_of
from jobs.summary_files import current_summary

_RECENT = timedelta(minutes=5)
_TIMES = tuple(f"{stage}_ms" for stage in TIMED_STAGES)
_FAILURE = ("error_stage", "error_type", "error_message")


class FailedPair(BaseModel):
    """One failed row."""

    pair_id: str
    stage: str
    type: str
    message: str
    node: str | None = None


class DamagedShard(BaseModel):
    """One damaged shard."""

    shard: int
    reason: str


class Status(BaseModel):
    """The progress of a run."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    out: str
    collection: str
    run: str
    method: str
    trained: bool | None
    state: RunState
    """As in `irfuse runs`: `failed` if the last attempt ended with an error; `done` if every pair
    has its row, and the summary is written; `running` if something was written within the last ten
    minutes; else `stalled`."""
    reason: str | None
    """Why nothing more is computed, and what to do; None if the run is running or done."""
    shards: int
    shards_done: int
    rows: int
    rows_done: int
    ok: int
    failed: int
    failed_stages: dict[str, int]
    pairs_per_second: float | None
    """Committed rows per second of the time in which at least one shard was in progress."""
    recent_pairs_per_second: float | None
    """The same in the five minutes before the last commit."""
    elapsed_seconds: float | None
    """Time in which at least one shard was in progress."""
    last_commit: datetime | None
    """Time at which the last shard was committed, by the clock of its node."""
    eta_seconds: float | None
    """Remaining rows divided by the recent rate; None unless the run is running."""
    stage_shares: dict[str, float]
    """Share of each stage in the time that workers spent on pairs."""
    rows_by_node: dict[str, int]
    """Number of committed rows by the node that computed them."""
    workers_by_node: dict[str, int]
    """Workers that were ready when the running attempt was last recorded."""
    workers_starting: int
    """Workers that were not ready yet then."""
    deaths: dict[str, int]
    """Number of workers that died in all attempts, by reason."""
    failures: list[FailedPair]
    """The failed rows that were committed last, the latest first."""
    damaged_shards: list[DamagedShard]
    """Shards whose rows are computed again when the run is continued; they count as not done."""

    @property
    def rows_left(self) -> int:
        """Number of rows that are not committed yet."""
        return self.rows - self.rows_done

    def require_done(self) -> None:
        """Raise an error if the run is not done.

        Raises:
            RunFailedError: It is not; the message contains the reason.
        """
        if self.state != "done":
            raise RunFailedError(f"{self.out} is {self.state}: {self.reason or 'not done yet'}")


def status(options: StatusOptions, progress: Progress | None = None) -> Status:
    """Report the progress of the run at OUT and the reasons of failed pairs.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The location contains no run.
        StorageError: The run cannot be read.
    """
    return StatusReader(options).read()


@dataclass(slots=True)
class _ShardStatus:
    """What the status needs of one shard."""

    version: str
    rows: int = 0
    failed: int = 0
    started: datetime | None = None
    committed: datetime | None = None
    spent_ms: dict[str, float] = field(default_factory=dict)
    nodes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    failures: list[FailedPair] = field(default_factory=list)
    damage: Damage | None = None


class StatusReader:
    """Reads the status of a run again and again, and only the shards that are new.

    Args:
        options: Options of the job.

    Raises:
        NotFoundError: The location contains no run.
        StorageError: The run cannot be read.
    """

    def __init__(self, options: StatusOptions) -> None:
        self._options = options
        self._store = options.store(options.out)
        self._record = read_record(self._store, RunRecord)
        self._ledger = Ledger(self._store, self._record)
        self._shards: dict[int, _ShardStatus] = {}

    def read(self) -> Status:
        """Return the present status.

        Raises:
            StorageError: The run cannot be read.
        """
        listing = self._ledger.listing()
        self._update(listing)
        record, parts = self._record, self._sound()
        rows, failed = sum(p.rows for p in parts), sum(p.failed for p in parts)
        stages, nodes = _total(p.stages for p in parts), _total(p.nodes for p in parts)
        spent = {s: sum(p.spent_ms.get(s, 0.0) for p in parts) for s in TIMED_STAGES}
        total = sum(spent.values())
        attempts = find_attempts(self._store)
        state = self._state(attempts, finished=rows == record.rows and self._has_summary(listing))
        last = attempts[-1] if attempts else None
        count = last.workers[-1] if last is not None and last.workers else None
        recent = _recent_rate(parts)
        busy = _covered_seconds(parts)
        running = state == "running"
        return Status(
            out=self._store.url,
            collection=record.collection,
            run=record.name,
            method=record.origin.method,
            trained=record.origin.trained,
            state=state,
            reason=reason_of(state, last),
            shards=record.plan.count,
            shards_done=len(parts),
            rows=record.rows,
            rows_done=rows,
            ok=rows - failed,
            failed=failed,
            failed_stages=in_stage_order(stages),
            pairs_per_second=rows / busy if busy > 0 else None,
            recent_pairs_per_second=recent,
            elapsed_seconds=busy if parts else None,
            last_commit=max((p.committed for p in parts if p.committed), default=None),
            eta_seconds=(record.rows - rows) / recent if running and recent else None,
            stage_shares={s: part / total for s, part in spent.items() if part > 0},
            rows_by_node=dict(sorted(nodes.items())),
            workers_by_node=count.nodes if running and count else {},
            workers_starting=count.starting if running and count else 0,
            deaths=dict(sum((Counter(a.deaths) for a in attempts), Counter())),
            failures=[f for part in reversed(parts) for f in part.failures][
                : self._options.failures
            ],
            damaged_shards=[
                DamagedShard(shard=found.damage.shard, reason=found.damage.reason)
                for _, found in sorted(self._shards.items())
                if found.damage
            ],
        )

    def _update(self, listing: Listing) -> None:
        """Read the shards that were added or replaced since the last time."""
        known = self._shards
        for shard in known.keys() - listing.shards:
            del known[shard]
        new = {n for n, v in listing.versions.items() if n not in known or known[n].version != v}
        damages: list[Damage] = []
        columns = ("pair_id", "status", *_FAILURE, "node", *_TIMES)
        contents = self._ledger.contents(
            columns, listing=listing.only(new), on_damage=damages.append
        )
        for content in contents:
            version = listing.versions[content.shard]
            known[content.shard] = _summarized(content, version, self._options.failures)
        for damage in damages:
            known[damage.shard] = _ShardStatus(listing.versions[damage.shard], damage=damage)

    def _sound(self) -> list[_ShardStatus]:
        """Return the shards that are not damaged, in the order of their commits."""
        parts = [part for _, part in sorted(self._shards.items()) if part.damage is None]
        return sorted(parts, key=lambda part: part.committed or datetime.min.replace(tzinfo=UTC))

    def _has_summary(self, listing: Listing) -> bool:
        return current_summary(self._store, self._record, listing) is not None

    def _state(self, attempts: Sequence[Attempt], *, finished: bool) -> RunState:
        last = attempts[-1] if attempts else None
        times = [part.committed for part in self._shards.values() if part.committed]
        times += [last.updated] if last else [datetime.fromisoformat(self._record.created)]
        return state_of(finished, last, max(times).timestamp(), time.time())


def _summarized(content: ShardContent, version: str, failures: int) -> _ShardStatus:
    facts = content.facts
    found = _ShardStatus(version, facts.rows, facts.failed, facts.started, facts.committed)
    table = content.table
    assert table is not None
    found.nodes = Counter(node or "?" for node in table["node"].to_pylist())
    for stage, column in zip(TIMED_STAGES, _TIMES, strict=True):
        found.spent_ms[stage] = pc.sum(table[column]).as_py() or 0.0
    if not facts.failed:
        return found
    for row in table.filter(pc.equal(table["status"], "failed")).to_pylist():
        found.stages[row["error_stage"]] += 1
        if len(found.failures) < failures:
            found.failures.append(
                FailedPair(
                    pair_id=row["pair_id"],
                    stage=row["error_stage"],
                    type=row["error_type"],
                    message=row["error_message"],
                    node=row["node"],
                )
            )
    return found


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    """Add up many counts; the operator would copy the sum for each of them."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _recent_rate(parts: Sequence[_ShardStatus]) -> float | None:
    """Return the rate before the last commit, from times of the shards alone.

    The clock of this machine may differ from those of the nodes.
    """
    last = parts[-1].committed if parts else None
    if last is None:
        return None
    recent = [p for p in parts if p.committed is not None and p.committed > last - _RECENT]
    busy = _covered_seconds(recent)
    return sum(part.rows for part in recent) / busy if busy > 0 else None


def _covered_seconds(parts: Iterable[_ShardStatus]) -> float:
    """Return for how long at least one of the shards was in work."""
    spans = sorted((p.started, p.committed) for p in parts if p.started and p.committed)
    total, reached = 0.0, None
    for start, end in spans:
        begin = start if reached is None or start > reached else reached
        if end > begin:
            total += (end - begin).total_seconds()
            reached = end
    return total
