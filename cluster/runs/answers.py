"""Answers of workers to calls of the driver, in the order in which they come.

Waiting for the next one takes the same time however many calls are unanswered, where `ray.wait`
looks at all of them each time.
"""

from __future__ import annotations

from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from ray import ObjectRef

Asked = TypeVar("Asked")

_MOST_AT_ONCE = 1024
"""Answers that are taken before the driver does anything else."""


class Answer(NamedTuple, Generic[Asked]):
    """The answer to one call."""

    asked: Asked
    """Who was asked."""
    ref: ObjectRef[Any]
    """Reference to the result."""
    future: Future[Any]
    """The result, or the exception that Ray raises in its place."""


class Answers(Generic[Asked]):
    """Collects the answers to calls."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Answer[Asked]] = SimpleQueue()

    def expect(self, asked: Asked, ref: ObjectRef[Any]) -> None:
        """Collect the result of a call, which must be small, once it is there."""

        def told(future: Future[Any]) -> None:
            self._queue.put(Answer(asked, ref, future))

        ref.future().add_done_callback(told)

    def wait(self, seconds: float) -> list[Answer[Asked]]:
        """Return the answers that are there; if there is none, wait for the first one."""
        try:
            found = [self._queue.get(timeout=seconds)]
        except Empty:
            return []
        while len(found) < _MOST_AT_ONCE:
            try:
                found.append(self._queue.get_nowait())
            except Empty:
                break
        return found
