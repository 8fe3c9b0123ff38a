"""The jobs that a person starts: `run`, `score`, `pairs`, `status`, `summarize`, `demo`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.discovery import discover, pairs
    from jobs.execution import RunResult, run, score
    from jobs.options import RunOptions, ScoreOptions
    from jobs.summary import Summary, status, summarize

__all__ = [
    "RunOptions",
    "RunResult",
    "ScoreOptions",
    "Summary",
    "discover",
    "pairs",
    "run",
    "score",
    "status",
    "summarize",
]

_HOMES = {
    "RunOptions": "jobs.options",
    "RunResult": "jobs.execution",
    "ScoreOptions": "jobs.options",
    "Summary": "jobs.summary",
    "discover": "jobs.discovery",
    "pairs": "jobs.discovery",
    "run": "jobs.execution",
    "score": "jobs.execution",
    "status": "jobs.summary",
    "summarize": "jobs.summary",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: `irfuse --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
