"""Verification of a run: every shard is read whole and compared with what was committed."""

from __future__ import annotations

from pydantic import BaseModel

from cluster.runs import SCORES_PREFIX, Damage, DamagedRunError, Ledger, RunRecord
from cluster.storage import read_record
from fusion_core.errors import StorageError
from fusion_core.wording import count_of
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
    wrong_scores: list[int] = []
    """Sound shards of which the compacted scores hold other rows."""
    unusable_scores: list[str] = []
    """Locations of objects among the compacted scores that are damaged or foreign; they are not
    used."""

    @property
    def missing(self) -> int:
        """Number of shards that are not committed yet."""
        return self.shards - self.sound - len(self.damaged)

    def check(self) -> None:
        """Raise an error if shards are damaged, or compacted scores are wrong.

        Raises:
            DamagedRunError: Shards are damaged.
            StorageError: Compacted scores hold other rows than sound shards.
        """
        if self.wrong_scores:
            shards = count_of(len(self.wrong_scores), "shard")
            raise StorageError(
                f"{self.out}/{SCORES_PREFIX} holds other rows than {shards}, such as shard "
                f"{self.wrong_scores[0]}; delete this folder, which is derived from the shards, "
                f"and run `irfuse summarize {self.out}`"
            )
        if self.damaged:
            raise DamagedRunError(
                self.out, [Damage(d.shard, d.reason, version="") for d in self.damaged]
            )


def verify(options: VerifyOptions, progress: Progress | None = None) -> Verification:
    """Read every shard of the run at OUT whole, and compare it with what was committed.

    The compacted scores are compared with the shards.

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
    wrong: list[int] = []
    sound = sum(1 for _ in ledger.verify(listing, damages.append, wrong.append))
    return Verification(
        out=out.url,
        run=record.name,
        shards=record.plan.count,
        sound=sound,
        damaged=[DamagedShard(shard=d.shard, reason=d.reason) for d in damages],
        summary_is_current=find_summary(out, record, listing) is not None,
        wrong_scores=wrong,
        unusable_scores=[out.uri(key) for key in sorted(ledger.parts.unusable)],
    )
