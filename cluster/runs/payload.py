"""What workers load: weights, and code of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_core.extensions import Extension
from fusion_core.networks import Weights


@dataclass(frozen=True)
class Payload:
    """What workers load, which is sent once however many workers there are."""

    weights: Weights | None = None
    method: Extension | None = None
    """Code of a method of the user's own."""
    metrics: tuple[Extension, ...] = ()
    """Code of metrics of the user's own."""
