"""Events of runs: one schema for all lines of the log.

Each event is a record of the logger `irfuse` with an `Event` as its attribute `event`; the console
writes them as text or JSON. Texts are redacted when an event is made, so that no handler sees a
secret.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from cluster.storage import redact_text

LOGGER = logging.getLogger("irfuse")
LOGGER.addHandler(logging.NullHandler())  # programs that use irfuse choose their own

EventName = Literal[
    "run.planned",
    "run.resumed",
    "worker.ready",
    "worker.dead",
    "shard.committed",
    "pair.failed",
    "storage.retry",
    "run.estimate",
    "run.note",
    "run.finished",
    "command.failed",
]


@dataclass(frozen=True, slots=True)
class Event:
    """What has happened; fields that do not apply are None."""

    event: EventName
    run: str | None = None
    """Value of the label `run` of the metrics."""
    shard: int | None = None
    pair_id: str | None = None
    stage: str | None = None
    """Stage at which a pair failed, or operation of the storage that is repeated."""
    error_type: str | None = None
    """Class of the error, reason of a worker's death, or code of a storage's answer."""
    error: str | None = None
    """Message of the error, or text of a note."""
    node: str | None = None
    """Host name of the node."""
    attempt: int | None = None
    """Number of attempts to compute the pair."""
    rows: int | None = None
    """Pairs to compute, or that were computed."""
    seconds: float | None = None
    """Time that it took."""
    traceback: str | None = None
    """Traceback of the first failure of its stage and class."""

    def emit(self, level: int = logging.INFO) -> None:
        """Give the event to the log."""
        if LOGGER.isEnabledFor(level):
            LOGGER.log(level, self.event, extra={"event": self._redacted()})

    def values(self) -> Iterator[tuple[str, Any]]:
        """Yield the names and values of all fields that apply, in their order."""
        for part in fields(self):
            value = getattr(self, part.name)
            if value is not None:
                yield part.name, value

    def _redacted(self) -> Event:
        texts = {n: redact_text(value) for n, value in self.values() if isinstance(value, str)}
        return replace(self, **texts)  # type: ignore[arg-type]
