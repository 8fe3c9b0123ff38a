"""The progress of a run at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The progress of a run at one moment."""

    rows: int
    """Pairs computed by this call, committed or not."""
    failed: int
    """Failed rows among the committed rows."""
    workers: int
    """Workers that are ready."""
    waiting: int
    """Workers that are starting or waiting for resources."""
    deaths: int
    """Number of workers that have died."""
    activity: str = ""
    """What workers that are not ready are doing; empty if all are ready."""
    withheld: int = 0
    """Number of workers that are not started because the memory does not suffice for them."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """Workers that are ready, by the host names of their nodes."""
