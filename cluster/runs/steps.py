"""The state of a pair while it is processed, and the steps that process it.

If a step raises an exception, the pair becomes a failed row with the reason, and the job continues.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.collections import PairRow
from cluster.runs.origins import FusedCell
from cluster.runs.stage_names import Stage
from cluster.storage import redact_text
from fusion_core.metrics import Scores
from fusion_core.wording import encodable

if TYPE_CHECKING:
    from cluster.runs.computer import DeviceImages

T = TypeVar("T")

_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8_000


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


class Steps:
    """Runs the steps of pairs: times and counts them, and turns their errors into failures."""

    def __init__(self) -> None:
        self.done = 0
        """Number of completed steps; a worker is considered hung if it does not increase."""
        self.traced: set[tuple[str, str]] = set()
        """Stages and classes of failures whose traceback is known already."""
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        """CPU time in seconds of each stage."""
        self._lock = threading.Lock()

    def count(self) -> None:
        """Count a step that cannot fail a pair."""
        self.done += 1

    def note_traced(self, states: Sequence[PairState]) -> None:
        """Note of which kinds of failures the traceback is known, once no pair is tried again."""
        failures = [state.failure for state in states if state.failure is not None]
        self.traced.update((f.stage, f.type) for f in failures if f.traceback)

    def run(self, states: Sequence[PairState], stage: Stage, action: Callable[[], T]) -> T | None:
        """Run one stage for a pair or batch; this is where an exception becomes a failed row."""
        started, cpu = time.perf_counter(), time.thread_time()
        try:
            return action()
        except torch.AcceleratorError:
            raise  # the process has lost its device, and all later results would be invalid
        except Exception as error:  # noqa: BLE001
            failure = self._to_failure(stage, error)
            for state in states:
                state.failure = failure
            return None
        finally:
            spent = (time.perf_counter() - started) * 1e3 / len(states)
            for state in states:
                state.spent_ms[stage] = state.spent_ms.get(stage, 0.0) + spent
            with self._lock:
                self.cpu_s[stage] += time.thread_time() - cpu
            self.count()

    def _to_failure(self, stage: Stage, error: Exception) -> Failure:
        kind = type(error).__name__
        known = (stage, kind) in self.traced
        return Failure(stage, kind, _message_of(error), None if known else _traceback_of(error))


def _message_of(error: Exception) -> str:
    # A column holds only text that can be encoded, but the name of a file need not be.
    text = redact_text(encodable(str(error))) or type(error).__name__
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        text = f"Not enough memory for this pair: {text}"
    return " ".join(text.split())[:_LONGEST_MESSAGE]


def _traceback_of(error: Exception) -> str:
    """Return the end of a traceback, without secrets."""
    text = encodable("".join(traceback.format_exception(error)))
    return redact_text(text)[-_LONGEST_TRACEBACK:]
