"""The settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from cluster.runs.payload import Payload
from cluster.runs.record import RunRecord
from cluster.storage import Store


@dataclass(frozen=True)
class RunTarget:
    """A run to which a worker commits shards."""

    record: RunRecord
    out: Store
    """Output location of the run."""


@dataclass(frozen=True)
class WorkerConfig:
    """Settings of a worker: the record of the run, and those that are not part of it."""

    record: RunRecord
    out: Store
    """Output location of the run; sources are read with the same storage options."""
    payload: Payload = field(default_factory=Payload)
    device: Literal["cpu", "cuda"] = "cpu"
    companions: tuple[RunTarget, ...] = ()
    """Runs that score other fused images of the same pairs, see `share_sources`."""

    trial: bool = False
    """Whether pairs are computed of a run that has not begun, whose output location is empty."""

    def on_device(self, device: Literal["cpu", "cuda"]) -> WorkerConfig:
        """Return the settings for workers on a device, without the payload."""
        return replace(self, device=device, payload=Payload())

    def alone(self) -> list[WorkerConfig]:
        """Return the settings for the run and for each of its companions, without companions."""
        return [
            replace(self, companions=()),
            *(replace(self, record=c.record, out=c.out, companions=()) for c in self.companions),
        ]
