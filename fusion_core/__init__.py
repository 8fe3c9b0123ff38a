"""Infrared and visible image fusion: methods, metrics and images, on arrays.

`fuse` and `score` process one pair; `jobs.run` processes collections.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_core.api import fuse, score
    from fusion_core.errors import IrfuseError
    from fusion_core.methods import METHODS, list_methods
    from fusion_core.metrics import METRICS, list_metrics

__all__ = ["METHODS", "METRICS", "IrfuseError", "fuse", "list_methods", "list_metrics", "score"]

_HOMES = {
    "fuse": "fusion_core.api",
    "score": "fusion_core.api",
    "IrfuseError": "fusion_core.errors",
    "METHODS": "fusion_core.methods",
    "list_methods": "fusion_core.methods",
    "METRICS": "fusion_core.metrics",
    "list_metrics": "fusion_core.metrics",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use, so that `irfuse --help` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
