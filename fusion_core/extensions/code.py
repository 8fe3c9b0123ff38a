"""The code of methods and metrics of the user's own, as it is recorded and sent to workers."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.errors import ExtensionError
from fusion_core.extensions.entry_points import EntryPointGroup, describe, find_entry_point
from fusion_core.extensions.names import MODEL_KINDS, Kind, Target

_LARGEST_BYTES = 256 * 1024**2
_LEFT_OUT = ("__pycache__", ".pyc", ".pyo")


class CodeOrigin(BaseModel):
    """Where the code of a method or metric comes from, as `run.json` records it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: Kind
    """How it is named: an entry point, a module, a Python file, or a model file."""
    distribution: str | None = None
    """Installed package of an entry point."""
    version: str | None = None
    """Version of that package."""
    sha256: str
    """SHA-256 of the code: of a file, or of the names and contents of a package's files."""
    trusted: bool | None = None
    """Whether the user has confirmed the digest of a model file that executes code; None if the
    file is none."""
    side_file_sha256: str | None = None
    """SHA-256 of the side file of a model; None if there is none."""
    details: dict[str, str] = Field(default_factory=dict)
    """What a model file states about its producer and operators."""


@dataclass(frozen=True)
class Extension:
    """The code or model of a method or metric, as it is sent to workers.

    Workers write the files into a folder of their own and import from there. Code of an installed
    package is not sent: every node must have the same.
    """

    name: str
    """Name in rows and tables."""
    target: Target
    """What is loaded: the location is relative to the files."""
    origin: CodeOrigin
    files: Mapping[str, bytes] = field(repr=False, default_factory=dict)
    """Content of the files that are sent, by path."""

    def load(self, group: EntryPointGroup, *, sent: bool = False) -> Any:  # noqa: ANN401
        """Import the object that the name stands for.

        Args:
            group: Group of its entry point.
            sent: Whether this process has received the extension from another one, so that a
                package is imported from the files instead of the path of Python.

        Raises:
            ExtensionError: The code cannot be imported, has no such object, or on this node is not
                that of the driver.
        """
        kind, location = self.target.kind, self.target.location
        if kind == "entry_point":
            return self._load_entry_point(group)
        if kind == "file":
            module = _import_file(_own_name(self), unpack(self) / location, self.name)
        elif sent:
            module = _import_sent_module(self)
        else:
            with _explained(self.name), _importable_from_here():
                module = importlib.import_module(location)
        return _attribute(module, self.target.attribute, self.name)

    def _load_entry_point(self, group: EntryPointGroup) -> Any:  # noqa: ANN401
        found = find_entry_point(group, self.target.location)
        if found is None:
            raise ExtensionError(
                f"{self.name} is not installed; it is of the package {self.origin.distribution} "
                f"{self.origin.version}"
            )
        module = found.value.partition(":")[0]
        with _explained(self.name):
            digest = digest_files(_module_files(module))
        if digest != self.origin.sha256:
            raise ExtensionError(
                f"The package {describe(found)} has other code than on the driver, where its "
                f"version is {self.origin.version}; install the same"
            )
        with _explained(self.name):
            return found.load()


def pack(target: Target, group: EntryPointGroup) -> Extension:
    """Collect the code of a method or metric.

    Args:
        target: Its name.
        group: Group of its entry point.

    Raises:
        ExtensionError: There is no such file, module or entry point, or it is too large.
    """
    if target.kind in MODEL_KINDS:
        return _pack_model(target)
    if target.kind == "file":
        path = Path(target.location)
        files = {path.name: read_file(path)}
        target = Target("file", path.name, target.attribute)
    elif target.kind == "module":
        with _explained(target.name):
            files = _module_files(target.location)
    else:
        found = find_entry_point(group, target.location)
        if found is None:
            raise ExtensionError(f"No installed package has the entry point {target.location!r}")
        with _explained(target.name):
            files = _module_files(found.value.partition(":")[0])
        origin = CodeOrigin(
            kind="entry_point",
            distribution=found.dist.name if found.dist else None,
            version=found.dist.version if found.dist else None,
            sha256=digest_files(files),
        )
        return Extension(target.name, target, origin)
    return Extension(
        target.name, target, CodeOrigin(kind=target.kind, sha256=digest_files(files)), files
    )


def _pack_model(target: Target) -> Extension:
    path = Path(target.location)
    files = {path.name: read_file(path)}
    side = path.with_suffix(".toml")
    if side.is_file():
        files[side.name] = read_file(side)
    digests = {name: digest_files({name: content}) for name, content in files.items()}
    origin = CodeOrigin(
        kind=target.kind, sha256=digests[path.name], side_file_sha256=digests.get(side.name)
    )
    return Extension(target.name, Target(target.kind, path.name), origin, files)


def digest_files(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of one file, or of the names and digests of several.

    >>> digest_files({"a.py": b""})[:8]
    'e3b0c442'
    """
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{name}\0{digest}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def read_file(path: Path) -> bytes:
    """Read a file of the user.

    Raises:
        ExtensionError: It cannot be read, or is too large to be sent.
    """
    try:
        if not path.is_file():
            raise ExtensionError(f"There is no file {path}")
        if path.stat().st_size > _LARGEST_BYTES:
            raise _too_large(str(path))
        return path.read_bytes()
    except OSError as error:
        raise ExtensionError(f"Cannot read {path}: {error.strerror}") from None


def _too_large(what: str) -> ExtensionError:
    return ExtensionError(
        f"{what} has more than {_LARGEST_BYTES // 1024**2} MiB, which is too much to be sent to "
        "workers; install it on every node, with an entry point"
    )


def _module_files(module: str) -> dict[str, bytes]:
    """Return the files of the package to which a module belongs, or of the module itself."""
    top = module.partition(".")[0]
    with _importable_from_here():
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(top)
    if spec is None:
        raise ExtensionError(
            f"There is no module {top!r} on the path of Python or in the working directory"
        )
    folders = list(spec.submodule_search_locations or ())
    if not folders:
        path = Path(spec.origin or "")
        return {path.name: read_file(path)}
    root, files, size = Path(folders[0]), {}, 0
    for path in _package_files(root):
        content = read_file(path)
        size += len(content)
        if size > _LARGEST_BYTES:
            raise _too_large(f"The package {root}")
        files[f"{top}/{path.relative_to(root).as_posix()}"] = content
    return files


def _package_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(n for n in folders if n not in _LEFT_OUT and not n.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix not in _LEFT_OUT and path.is_file():
                yield path


@contextmanager
def _importable_from_here() -> Iterator[None]:
    """Add the working directory to the path of Python for the duration of the block."""
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def unpack(extension: Extension) -> Path:
    """Write the files of an extension into a folder of this process, and return the folder.

    The folder is removed when the process ends.
    """
    folder = Path(_folder_of(extension.origin.sha256).name)
    for name, content in extension.files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


@functools.cache
def _folder_of(sha256: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="irfuse-code-", ignore_cleanup_errors=True)


def _own_name(extension: Extension) -> str:
    """Return the name under which a file is imported, which hides no other module."""
    return f"irfuse_code_{extension.origin.sha256[:16]}"


def _import_sent_module(extension: Extension) -> ModuleType:
    """Import a module from the files that were sent, whatever else is on the path of Python."""
    location, folder = extension.target.location, str(unpack(extension))
    if folder not in sys.path:
        top = location.partition(".")[0]
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    with _explained(extension.name):
        return importlib.import_module(location)


def _import_file(name: str, path: Path, shown: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _explained(shown):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _attribute(module: ModuleType, name: str, shown: str) -> Any:  # noqa: ANN401
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
def _explained(shown: str) -> Iterator[None]:
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
