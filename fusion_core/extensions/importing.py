"""Import of the user's code: from where it is, or from files that were sent."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from fusion_core.errors import ExtensionError


@contextmanager
def importable_from_here() -> Iterator[None]:
    """Add the working directory to the path of Python for the duration of the block."""
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def unpack(sha256: str, files: Mapping[str, bytes]) -> Path:
    """Write files with a common digest into a folder of this process, and return the folder.

    The folder is removed when the process ends.
    """
    folder = Path(_folder_of(sha256).name)
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


@functools.cache
def _folder_of(sha256: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="irfuse-code-", ignore_cleanup_errors=True)


def import_sent(module: str, folder: Path, shown: str) -> ModuleType:
    """Import a module from files that were sent, whatever else is on the path of Python.

    Args:
        module: Name of the module.
        folder: Folder of the files.
        shown: Name for messages.

    Raises:
        ExtensionError: It cannot be imported.
    """
    if str(folder) not in sys.path:
        top = module.partition(".")[0]
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    with explained(shown):
        return importlib.import_module(module)


def import_here(module: str, shown: str) -> ModuleType:
    """Import a module from the path of Python or from the working directory.

    Raises:
        ExtensionError: It cannot be imported.
    """
    with explained(shown), importable_from_here():
        return importlib.import_module(module)


def import_file(name: str, path: Path, shown: str) -> ModuleType:
    """Import a file as a module.

    Args:
        name: Name of the module, which should hide no other one.
        path: The file.
        shown: Name for messages.

    Raises:
        ExtensionError: It cannot be imported.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with explained(shown):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def attribute_of(module: ModuleType, name: str, shown: str) -> Any:  # noqa: ANN401
    """Return an object of a module.

    Raises:
        ExtensionError: There is none of this name; the message lists what there is.
    """
    if hasattr(module, name):
        return getattr(module, name)
    home = module.__name__
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, ModuleType)
        if getattr(value, "__module__", home) == home or not hasattr(value, "__name__")
    ]
    listed = f"; it defines {', '.join(own)}" if own else ""
    raise ExtensionError(f"Cannot load {shown}: there is no {name!r} in it{listed}")


@contextmanager
def explained(shown: str) -> Iterator[None]:
    """Turn what the user's code raises when it is imported into an error with its place."""
    try:
        yield
    except ExtensionError:
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "no message"
        if isinstance(error, SystemExit):
            reason = f"it calls sys.exit({error.code!r}) when it is imported"
        if isinstance(error, ModuleNotFoundError) and error.name:
            reason = f"it needs the module {error.name!r}, which is not installed"
        raise ExtensionError(
            f"Cannot load {shown}: {reason} ({type(error).__name__}{place_of(error)})"
        ) from error


def place_of(error: BaseException) -> str:
    """Return the file and line of the user's code at which an error occurred."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_library(f.filename)]
    return f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""


def _is_library(filename: str) -> bool:
    """Whether a file is one of Python, of an installed library, or of irfuse."""
    folders = (*sysconfig.get_paths().values(), str(Path(__file__).parents[1]))
    return filename.startswith((*folders, "<"))
