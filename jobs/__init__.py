"""The jobs that a person starts: `run`, `score`, `pairs`, `summarize`, `train` and others."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.discovery import discover, pairs
    from jobs.execution import RunResult, run, score
    from jobs.options import RunOptions, ScoreOptions, TrainOptions
    from jobs.reconstruction import ReconstructionReport, reconstruct
    from jobs.summary import Summary, status, summarize
    from jobs.training import TrainResult, train

__all__ = [
    "ReconstructionReport",
    "RunOptions",
    "RunResult",
    "ScoreOptions",
    "Summary",
    "TrainOptions",
    "TrainResult",
    "discover",
    "pairs",
    "reconstruct",
    "run",
    "score",
    "status",
    "summarize",
    "train",
]

_HOMES = {
    "ReconstructionReport": "jobs.reconstruction",
    "RunOptions": "jobs.options",
    "RunResult": "jobs.execution",
    "ScoreOptions": "jobs.options",
    "Summary": "jobs.summary",
    "TrainOptions": "jobs.options",
    "TrainResult": "jobs.training",
    "discover": "jobs.discovery",
    "pairs": "jobs.discovery",
    "reconstruct": "jobs.reconstruction",
    "run": "jobs.execution",
    "score": "jobs.execution",
    "status": "jobs.summary",
    "summarize": "jobs.summary",
    "train": "jobs.training",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: `irfuse --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
