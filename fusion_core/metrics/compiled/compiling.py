"""Decorators that compile kernels and keep the result on disk."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])

_METRICS = Path(__file__).parents[1]
_DIGEST = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(_METRICS.rglob("*.py")))
).hexdigest()[:12]
"""Identifies the sources of all metrics, wherever they keep their kernels.

Numba looks for changes only in the file of the function itself, not in what is inlined into it.
"""


def compiled(function: F) -> F:
    """Compile as written: no sum is reordered or contracted, so that ties stay ties."""
    return _compile(function, fastmath=False)


def compiled_fast(function: F) -> F:
    """Compile where sums may be reordered and contracted; NaN and infinity keep their meaning."""
    return _compile(function, fastmath={"contract", "reassoc", "nsz"})


def inlined(function: F) -> F:
    """Inline into the kernels that call it, so that their loops become vector instructions."""
    return cast("F", njit(inline="always", error_model="numpy")(function))


def _compile(function: F, fastmath: bool | set[str]) -> F:
    function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"  # names the file on disk
    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with suppress(RuntimeError):  # where no folder can be written, nothing is kept
        dispatcher._cache = _ForgivingCache(function)
    return cast("F", dispatcher)


class _ForgivingCache(FunctionCache):
    """A cache on disk whose unreadable files are compiled again, and whose writes may fail."""

    def load_overload(self, signature: Any, target_context: Any) -> Any:  # noqa: ANN401
        try:
            return super().load_overload(signature, target_context)
        except (OSError, EOFError, pickle.UnpicklingError):
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:  # noqa: ANN401
        with suppress(OSError):
            super().save_overload(signature, data)
