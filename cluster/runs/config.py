"""The settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cluster.runs.record import RunRecord
from cluster.storage import Store
from fusion_core.networks import Weights


@dataclass(frozen=True)
class WorkerConfig:
    """Settings of a worker: the record of the run, and those that are not part of it."""

    record: RunRecord
    out: Store
    """Output location of the run; sources are read with the same storage options."""
    weights: Weights | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def on_device(self, device: Literal["cpu", "cuda"]) -> WorkerConfig:
        """Return the settings for workers on a device, without the weights, which are sent once."""
        return replace(self, device=device, weights=None)
