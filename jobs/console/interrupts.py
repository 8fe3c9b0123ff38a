"""Interrupts of a command: Ctrl-C (SIGINT), and SIGTERM, which means the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_received: list[int] = []
"""Signals that have been received."""


@contextmanager
def handled_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for both signals in the block, unless they are ignored."""
    _received.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def check_interrupts() -> None:
    """Raise `KeyboardInterrupt` if a signal was received.

    Python discards exceptions in some places, such as the destructors of objects and the hooks of
    `os.fork`, and libraries catch some of them.
    """
    if _received:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
