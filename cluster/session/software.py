"""The software that computes: irfuse's own code, and the versions of torch, Ray and Python.

Versions alone do not identify code that is edited, such as that of a checkout.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fusion_core.errors import RunConflictError

_PACKAGES = {
    "fusion_core": ("fusion_core",),
    "cluster": ("cluster",),
    "jobs": ("jobs",),
    "irfuse": ("irfuse", "jobs/public_api/irfuse"),
}
"""Irfuse's packages, and their possible folders below the root: installed, and in a checkout."""
_ROOT = Path(__file__).resolve().parents[2]
_SUFFIXES = {".py", ".pyi"}
_NAMED_FILES = 3


@dataclass(frozen=True)
class Software:
    """The software of one process.

    Weights are not part of it: runs record their SHA-256, and workers get them from the driver.
    """

    irfuse: str
    """Version of irfuse."""
    torch: str
    """Version of torch."""
    ray: str
    """Version of Ray."""
    python: str
    """Version of Python, of which only the first two numbers have to agree."""
    root: str
    """Folder of irfuse's packages."""
    files: Mapping[str, str]
    """SHA-256 of each file of irfuse's code; the names do not depend on how it is installed."""

    @property
    def code_sha256(self) -> str:
        """SHA-256 of irfuse's code."""
        names = (f"{name}\0{self.files[name]}\n" for name in sorted(self.files))
        return hashlib.sha256("".join(names).encode()).hexdigest()

    def check_node(self, node: str, found: Software) -> None:
        """Check that a node has the same software as this process, the driver.

        Raises:
            RunConflictError: It has not; the message names the node and what differs.
        """
        different = [
            f"{package} {theirs}, but the driver has {own}"
            for package, own, theirs in (
                ("irfuse", self.irfuse, found.irfuse),
                ("torch", self.torch, found.torch),
                ("Ray", self.ray, found.ray),
                ("Python", _minor(self.python), _minor(found.python)),
            )
            if own != theirs
        ]
        if not different and self.files != found.files:
            names = [
                name
                for name in sorted({**self.files, **found.files})
                if self.files.get(name) != found.files.get(name)
            ]
            different.append(
                f"other code of irfuse than the driver: {_describe(names)} between {found.root} on "
                f"the node and {self.root} on the driver"
            )
        if different:
            raise RunConflictError(
                f"Node {node} has {' and '.join(different)}; install the same on all nodes"
            )


@functools.cache
def installed_software(root: Path = _ROOT) -> Software:
    """Return the software of this process, whose packages are in the folder `root`."""
    files = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _sources(root)}
    irfuse, torch, ray = map(version, ("irfuse", "torch", "ray"))
    return Software(irfuse, torch, ray, platform.python_version(), str(root), files)


def _minor(python: str) -> str:
    """Return the first two numbers of a version, as packages are installed for."""
    return ".".join(python.split(".")[:2])


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    for package, folders in _PACKAGES.items():
        folder = next((root / name for name in folders if (root / name).is_dir()), None)
        for path in folder.rglob("*.py*") if folder else ():
            name = path.relative_to(folder or root)
            if path.suffix in _SUFFIXES and name.parts[0] != "public_api":
                yield f"{package}/{name.as_posix()}", path


def _describe(names: list[str]) -> str:
    more = len(names) - _NAMED_FILES
    shown = ", ".join(names[:_NAMED_FILES])
    if more > 0:
        return f"{shown} and {more} more files differ"
    return f"{shown} {'differs' if len(names) == 1 else 'differ'}"
