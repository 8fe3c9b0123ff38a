"""The state of a pair while it is processed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.collections import PairRow
from cluster.runs.stage_names import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cluster.runs.computer import DeviceImages
    from cluster.runs.origins import FusedCell
    from fusion_core.metrics import Scores


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a pair has no result."""

    stage: Stage
    type: str
    message: str
    traceback: str | None = None
    """Traceback of the first failure of its kind, without secrets."""


@dataclass(slots=True)
class PairState:
    """The state of a pair that is processed."""

    offset: int
    row: PairRow
    sources: PairState | None = None
    """The same pair in another run, whose decoded sources are used."""
    files: dict[str, bytes] | None = None
    """The bytes of the images, until they are decoded."""
    bytes_read: int = 0
    """Bytes of the images, also after they are decoded."""
    pixels: int = 0
    """Pixels of the largest image, as its header states them."""
    ir: NDArray[np.uint8] | None = None
    vis: NDArray[np.uint8] | None = None
    further: list[NDArray[np.uint8]] = field(default_factory=list)
    """Sources after the infrared and the visible image."""
    on_device: DeviceImages | None = None
    """The same images where they are computed."""
    fused: NDArray[np.uint8] | None = None
    reference: NDArray[np.uint8] | None = None
    cell: FusedCell | None = None
    scores: Scores | None = None
    failure: Failure | None = None
    size: tuple[int, int] | None = None
    resized: str | None = None
    spent_ms: dict[str, float] = field(default_factory=dict)
