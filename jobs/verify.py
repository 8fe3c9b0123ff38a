"""Verification of a run: every shard is read whole and compared with what was committed."""

from __future__ import annotations

from pydantic import BaseModel

from cluster.runs import Damage, DamagedRunError, Ledger, RunRecord
from cluster.storage import read_record
from jobs.options import VerifyOptions
from jobs.progress import Progress, SilentProgress
from jobs.status import DamagedShard
from jobs.summary_files import find_summary


class Verification(BaseModel):
    """The result of a verification."""

    out: str
    run: str
    shards: int
    """Number of shards of the finished run."""
    sound: int
    """Number of shards that hold what was committed."""
    damaged: list[DamagedShard]
    summary_is_current: bool
    """Whether summary.json and summary.csv belong to these shards."""

    @property
    def missing(self) -> int:
        """Number of shards that are not committed yet."""
        return self.shards - self.sound - len(self.damaged)

    def check(self) -> None:
        """Raise an error if shards are damaged.

        Raises:
            DamagedRunError: Shards are damaged.
        """
        if self.damaged:
            raise DamagedRunError(
                self.out, [Damage(d.shard, d.reason, version="") for d in self.damaged]
            )


def verify(options: VerifyOptions, progress: Progress | None = None) -> Verification:
    """Read every shard of the run at OUT whole, and compare it with what was committed.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The location contains no run.
        RunConflictError: The manifest is not that of the run.
        StorageError: The manifest is damaged, or the location cannot be read.
    """
    progress = progress or SilentProgress()
    out = options.store(options.out)
    record = read_record(out, RunRecord)
    ledger, damages = Ledger(out, record), list[Damage]()
    listing = ledger.listing()
    if listing.shards:
        progress.message(f"Reading the manifest and {len(listing.shards)} shards")
        ledger.verify_manifest()
    sound = sum(1 for _ in ledger.verify(listing, damages.append))
    return Verification(
        out=out.url,
        run=record.name,
        shards=record.plan.count,
        sound=sound,
        damaged=[DamagedShard(shard=d.shard, reason=d.reason) for d in damages],
        summary_is_current=find_summary(out, record, listing) is not None,
    )
