"""What remains to be computed of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.runs import Damage, Ledger, RunRecord, ShardTask


@dataclass(frozen=True, slots=True)
class Remaining:
    """The shards of a run that remain to be computed."""

    tasks: list[ShardTask]
    rows: int
    finished: int
    """Number of finished shards that are left unchanged."""
    damages: Sequence[Damage]
    """The damaged ones among them."""


def find_remaining(
    ledger: Ledger,
    record: RunRecord,
    *,
    retry_failed: bool = False,
    verify: bool = False,
    damages: Sequence[Damage] = (),
) -> Remaining:
    """Return the shards without an object, the damaged ones, and those with rows to retry."""
    listing, damages = ledger.listing(), list(damages)
    failed: dict[int, int] = {}
    if retry_failed or verify:
        contents = (
            ledger.verify(listing, damages.append)
            if verify
            else ledger.contents(listing=listing, on_damage=damages.append)
        )
        for content in contents:
            if retry_failed and content.facts.failed:
                failed[content.shard] = content.facts.failed
    damaged = {damage.shard for damage in damages}
    whole = [n for n in range(record.plan.count) if n in damaged or n not in listing.shards]
    bounds = [record.plan.bounds(shard) for shard in whole]
    tasks = [ShardTask(shard) for shard in whole]
    tasks += [ShardTask(shard, failed_only=True) for shard in failed]
    rows = sum(end - first for first, end in bounds) + sum(failed.values())
    return Remaining(tasks, rows, record.plan.count - len(tasks), damages)
