"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile as written: no sum is reordered or contracted, so that ties stay ties."""
    return _compile(function, fastmath=False)


def compiled_fast(function: F) -> F:
    """Compile where sums may be reordered and contracted; NaN and infinity keep their meaning."""
    return _compile(function, fastmath={"contract", "reassoc", "nsz"})


def inlined(function: F) -> F:
    """Paste into the kernels that call it, so that their loops become vector instructions."""
    return cast("F", njit(inline="always", error_model="numpy")(function))


def _compile(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return cast("F", njit(cache=True, **options)(function))
    except RuntimeError:  # no folder to keep the compiled code in can be written
        return cast("F", njit(**options)(function))
