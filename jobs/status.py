"""The progress of a run and the reasons of its failed pairs, from its shards and its attempts."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from jobs.last_failures import FAILURE_COLUMNS, FailedPair, LastFailures, failed_rows
from jobs.options import RunState, StatusOptions
from jobs.progress import Progress
from jobs.run_state import find_attempts, reason_of, state_of
from jobs.summary_files import current_summary

_EPOCH, _MICROSECOND = datetime.fromtimestamp(0, UTC), timedelta(microseconds=1)
_RECENT = timedelta(minutes=5) // _MICROSECOND
_TIMES = tuple(f"{stage}_ms" for stage in TIMED_STAGES)
_COLUMNS = (*FAILURE_COLUMNS, *_TIMES)
_Counts = tuple[tuple[str, int], ...]
"""Numbers of rows by a name."""


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


@dataclass(frozen=True, slots=True)
class _ShardStatus:
    """What the status needs of a sound shard, which is little, because there are many."""

    version: str
    rows: int
    failed: int
    started: int
    """Microseconds since 1970."""
    committed: int
    spent_ms: array[float]
    """Time of each of the `TIMED_STAGES`."""
    nodes: _Counts
    """Rows by the node that computed them."""
    stages: _Counts
    """Failed rows by the stage at which they failed."""


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
        self._damages: dict[int, Damage] = {}
        self._failures = LastFailures(options.failures)
        self._counts: dict[_Counts, _Counts] = {}
        """Equal counts of shards, of which one is kept."""

    def read(self) -> Status:
        """Return the present status.

        Raises:
            StorageError: The run cannot be read.
        """
        listing = self._ledger.listing()
        self._update(listing)
        record, parts = self._record, [part for _, part in self._by_commit()]
        rows, failed = sum(p.rows for p in parts), sum(p.failed for p in parts)
        stages, nodes = _total(p.stages for p in parts), _total(p.nodes for p in parts)
        spent = {s: sum(p.spent_ms[n] for p in parts) for n, s in enumerate(TIMED_STAGES)}
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
            last_commit=_EPOCH + parts[-1].committed * _MICROSECOND if parts else None,
            eta_seconds=(record.rows - rows) / recent if running and recent else None,
            stage_shares={s: part / total for s, part in spent.items() if part > 0},
            rows_by_node=dict(sorted(nodes.items())),
            workers_by_node=count.nodes if running and count else {},
            workers_starting=count.starting if running and count else 0,
            deaths=dict(sum((Counter(a.deaths) for a in attempts), Counter())),
            failures=self._last_failures(listing),
            damaged_shards=[
                DamagedShard(shard=shard, reason=damage.reason)
                for shard, damage in sorted(self._damages.items())
            ],
        )

    def _update(self, listing: Listing) -> None:
        """Read the shards that were added or replaced since the last time."""
        versions = listing.versions
        for known in (self._shards, self._damages):
            for shard in [n for n, found in known.items() if versions.get(n) != found.version]:
                del known[shard]
        new = listing.shards - self._shards.keys() - self._damages.keys()
        damages: list[Damage] = []
        for content in self._contents(listing.only(new), damages.append):
            self._shards[content.shard] = self._summarized(content)
            self._failures.add(content)
        for damage in damages:
            self._damages[damage.shard] = replace(damage, version=versions[damage.shard])

    def _contents(
        self, listing: Listing, on_damage: Callable[[Damage], None]
    ) -> Iterator[ShardContent]:
        """Read shards, and state their versions as in the listing."""
        for content in self._ledger.contents(_COLUMNS, listing=listing, on_damage=on_damage):
            yield replace(content, version=listing.versions[content.shard])

    def _summarized(self, content: ShardContent) -> _ShardStatus:
        facts, table = content.facts, content.table
        assert table is not None
        nodes = Counter(node or "?" for node in table["node"].to_pylist())
        stages = Counter(failed_rows(content)["error_stage"].to_pylist())
        return _ShardStatus(
            content.version,
            facts.rows,
            facts.failed,
            _microseconds(facts.started),
            _microseconds(facts.committed),
            array("d", (pc.sum(table[column]).as_py() or 0.0 for column in _TIMES)),
            self._once(nodes),
            self._once(stages),
        )

    def _once(self, counts: Counter[str]) -> _Counts:
        """Return counts in a form of which equal ones are one object."""
        found = tuple(counts.items())
        return self._counts.setdefault(found, found)

    def _last_failures(self, listing: Listing) -> list[FailedPair]:
        """Return the failed pairs that were committed last, and read again those not kept."""
        last, pairs = dict[int, str](), 0
        for shard, found in reversed(self._by_commit()):
            if pairs >= self._options.failures:
                break
            if found.failed:
                last[shard] = found.version
                pairs += found.failed
        missing = self._failures.keep_only(last)
        for content in self._contents(listing.only(missing), lambda damage: None):
            self._failures.add(content)
        return self._failures.of(last)

    def _by_commit(self) -> list[tuple[int, _ShardStatus]]:
        """Return the shards that are not damaged, in the order of their commits."""
        return sorted(self._shards.items(), key=lambda item: (item[1].committed, item[0]))

    def _has_summary(self, listing: Listing) -> bool:
        return current_summary(self._store, self._record, listing) is not None

    def _state(self, attempts: Sequence[Attempt], *, finished: bool) -> RunState:
        last = attempts[-1] if attempts else None
        changed = last.updated if last else datetime.fromisoformat(self._record.created)
        times = [part.committed / 1_000_000 for part in self._shards.values()]
        return state_of(finished, last, max(changed.timestamp(), *times), time.time())


def _total(counts: Iterable[_Counts]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(dict(count))
    return total


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _recent_rate(parts: Sequence[_ShardStatus]) -> float | None:
    """Return the rate before the last commit, from times of the shards alone.

    The clock of this machine may differ from those of the nodes.
    """
    if not parts:
        return None
    recent = [part for part in parts if part.committed > parts[-1].committed - _RECENT]
    busy = _covered_seconds(recent)
    return sum(part.rows for part in recent) / busy if busy > 0 else None


def _covered_seconds(parts: Iterable[_ShardStatus]) -> float:
    """Return for how long at least one of the shards was in work."""
    total, reached = 0.0, None
    for start, end in sorted((part.started, part.committed) for part in parts):
        begin = start if reached is None or start > reached else reached
        if end > begin:
            total += (end - begin) / 1_000_000
            reached = end
    return total
