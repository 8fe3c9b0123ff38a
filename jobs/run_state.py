"""The state of a run, from what it has written."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.runs import Attempt, read_attempts
from cluster.storage import Store
from fusion_core.errors import StorageError
from jobs.options import RunState

STALLED_AFTER_S = 600.0
_INTERRUPTED = 130
"""Exit status of an attempt that a user has stopped."""


def state_of(finished: bool, last: Attempt | None, changed: float | None, now: float) -> RunState:
    """Return the state of a run.

    A driver that was killed leaves an attempt without an exit status, whose record it would write
    again every five minutes.

    Args:
        finished: Whether every pair has its row, and the summary is written.
        last: The record of the last attempt.
        changed: Unix time at which the run has written something for the last time.
        now: Unix time.
    """
    exit_status = last.exit if last is not None else None
    if exit_status not in (None, 0, _INTERRUPTED):
        return "failed"
    if finished:
        return "done"
    if exit_status is not None:
        return "stalled"
    return "running" if changed is not None and now - changed < STALLED_AFTER_S else "stalled"


def reason_of(state: RunState, last: Attempt | None) -> str | None:
    """Return why nothing more is computed of a run that is not done; None if it is, or running.

    Args:
        state: The state, from `state_of`.
        last: The record of the last attempt.
    """
    if state == "failed":
        return last.error if last is not None and last.error else "the last attempt failed"
    if state != "stalled":
        return None
    if last is None or last.exit is None:
        minutes = f"{STALLED_AFTER_S / 60:.0f} min"
        reason = f"nothing has been written for {minutes}, so its driver has probably been killed"
    elif last.exit == _INTERRUPTED:
        reason = "the last attempt was interrupted"
    else:
        reason = "the last attempt has ended, and shards or the summary are missing"
    return f"{reason}; run the same command again to resume"


def find_attempts(out: Store, keys: Iterable[str] | None = None) -> list[Attempt]:
    """Return the records of all attempts, which are for information: none if one cannot be read.

    Args:
        out: Output location of the run.
        keys: Keys of its objects, if they have been listed already.
    """
    try:
        return read_attempts(out, keys)
    except StorageError:
        return []
