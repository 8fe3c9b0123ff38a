"""Files with code of the user: found, read, and identified by their digest."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from fusion_core.errors import ExtensionError
from fusion_core.extensions.importing import importable_from_here

_LARGEST_BYTES = 256 * 1024**2
_LEFT_OUT = ("__pycache__", ".pyc", ".pyo")


def digest_files(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of one file, or of the names and digests of several.

    >>> digest_files({"a.py": b""})[:8]
    'e3b0c442'
    """
    return _join({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def digest_paths(paths: Mapping[str, Path]) -> str:
    """Return the digest of `digest_files` without holding the files in memory.

    Raises:
        OSError: A file cannot be read.
    """
    digests = {}
    for name, path in paths.items():
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return _join(digests)


def _join(digests: Mapping[str, str]) -> str:
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{name}\0{digests[name]}\n" for name in sorted(digests))
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


def read_files(paths: Mapping[str, Path], shown: str) -> dict[str, bytes]:
    """Read the files of a package.

    Raises:
        ExtensionError: One cannot be read, or they are too large to be sent.
    """
    if sum(path.stat().st_size for path in paths.values()) > _LARGEST_BYTES:
        raise _too_large(f"The package of {shown}")
    return {name: read_file(path) for name, path in paths.items()}


def find_module_files(module: str) -> dict[str, Path]:
    """Return the files of the package to which a module belongs, or of the module itself.

    Raises:
        ExtensionError: There is no such module.
    """
    top = module.partition(".")[0]
    with importable_from_here():
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(top)
    if spec is None:
        raise ExtensionError(
            f"There is no module {top!r} on the path of Python or in the working directory"
        )
    folders = list(spec.submodule_search_locations or ())
    if not folders:
        path = Path(spec.origin or "")
        return {path.name: path}
    root = Path(folders[0])
    return {f"{top}/{path.relative_to(root).as_posix()}": path for path in _package_files(root)}


def _package_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(n for n in folders if n not in _LEFT_OUT and not n.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix not in _LEFT_OUT and path.is_file():
                yield path
