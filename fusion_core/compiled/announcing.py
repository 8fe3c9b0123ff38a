"""Announcement of the compilation of kernels, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

COMPILING_ONCE = "Compiling kernels, once per machine"
"""Announcement of a compilation whose result other processes will load."""
_NOT_KEPT = (
    "Compiling kernels; they cannot be kept for other processes, because no folder for them can be "
    "written: NUMBA_CACHE_DIR sets one"
)


@contextmanager
def announced_compilation(announce: Callable[[str], None]) -> Iterator[None]:
    """Call a function with a message once if a kernel is compiled in the block.

    Kernels are compiled when they are used for the first time on a machine, and otherwise
    loaded from disk.

    Args:
        announce: The function.
    """
    from numba.core import event
    from numba.core.caching import NullCache

    class Listener(event.Listener):
        announced = False

        def on_start(self, event: Any) -> None:  # noqa: ANN401
            if not self.announced:
                self.announced = True
                kept = not isinstance(event.data["dispatcher"]._cache, NullCache)
                announce(COMPILING_ONCE if kept else _NOT_KEPT)

        def on_end(self, event: Any) -> None:  # noqa: ANN401
            pass

    with event.install_listener("numba:compile", Listener()):
        yield
