"""Decorators that compile kernels and keep the result on disk."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parents[1]
_IMPORT = re.compile(
    rb"^[ \t]*from[ ]+(%b(?:\.\w+)*)[ ]+import[ ]+(\([^)]*\)|[^\n]+)" % _PACKAGE.name.encode(), re.M
)
"""An import from this package, and the names that it imports. Parsing the sources takes longer."""
_NAME = re.compile(rb"\w+")


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
    digest = _digest(Path(function.__code__.co_filename))
    function.__qualname__ = f"{function.__qualname__}_{digest}"  # names the file on disk
    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    if _has_cache_folder(function):
        with suppress(RuntimeError):  # where no folder can be written, nothing is kept
            dispatcher._cache = _ForgivingCache(function)
    return cast("F", dispatcher)


def _has_cache_folder(function: Callable[..., Any]) -> bool:
    """Whether Numba knows a folder: if the home is not known, it creates one that is called `~`."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")
    settings: Any = config
    if settings.CACHE_DIR or os.path.isabs(home):
        return True
    source = Path(function.__code__.co_filename).parent
    folder = source / "__pycache__"
    place = folder if folder.exists() else source
    return place.is_dir() and os.access(place, os.W_OK)


@functools.cache
def _digest(module: Path) -> str:
    """Identify the sources of a module and of all modules of its package that it imports.

    Numba looks for changes only in the file of the function itself, not in what is inlined into it.
    """
    sources: dict[Path, bytes] = {}
    _read_sources(module, sources)
    return hashlib.sha256(b"".join(sources.values())).hexdigest()[:12]


def _read_sources(module: Path, sources: dict[Path, bytes]) -> None:
    """Add the sources of a module, and of what it imports from its package, in order."""
    if module in sources:
        return
    sources[module] = module.read_bytes()
    for parent, names in _IMPORT.findall(sources[module]):
        folder = _PACKAGE.joinpath(*parent.decode().split(".")[1:])
        modules = [folder, *(folder / name.decode() for name in _NAME.findall(names))]
        for path in (each.with_suffix(".py") for each in modules):
            if path.is_file():
                _read_sources(path, sources)


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
