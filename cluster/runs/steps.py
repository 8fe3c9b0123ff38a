"""The steps that process a pair.

If a step raises an exception, the pair becomes a failed row with the reason, and the job continues.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from cluster.runs.pair_state import Failure, PairState
from cluster.runs.stage_names import Stage
from cluster.storage import redact_text
from fusion_core.wording import encodable

T = TypeVar("T")

_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8_000


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
