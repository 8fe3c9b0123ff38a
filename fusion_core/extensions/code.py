"""The code of methods and metrics of the user's own, as it is recorded and sent to workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.errors import ExtensionError
from fusion_core.extensions.entry_points import EntryPointGroup, describe, find_entry_point
from fusion_core.extensions.importing import (
    attribute_of,
    explained,
    import_file,
    import_here,
    import_sent,
    unpack,
)
from fusion_core.extensions.names import MODEL_KINDS, Kind, Target
from fusion_core.extensions.user_files import (
    digest_files,
    digest_paths,
    find_module_files,
    read_file,
    read_files,
)


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
            name = f"irfuse_code_{self.origin.sha256[:16]}"
            module = import_file(name, self.unpack() / location, self.name)
        elif sent:
            module = import_sent(location, self.unpack(), self.name)
        else:
            module = import_here(location, self.name)
        return attribute_of(module, self.target.attribute, self.name)

    def unpack(self) -> Path:
        """Write the files into a folder of this process, and return the folder."""
        return unpack(self.origin.sha256, self.files)

    def _load_entry_point(self, group: EntryPointGroup) -> Any:  # noqa: ANN401
        found = find_entry_point(group, self.target.location)
        if found is None:
            raise ExtensionError(
                f"{self.name} is not installed; it is of the package {self.origin.distribution} "
                f"{self.origin.version}"
            )
        module = found.value.partition(":")[0]
        with explained(self.name):
            digest = digest_paths(find_module_files(module))
        if digest != self.origin.sha256:
            raise ExtensionError(
                f"The package {describe(found)} has other code than on the driver, where its "
                f"version is {self.origin.version}; install the same"
            )
        with explained(self.name):
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
        with explained(target.name):
            files = read_files(find_module_files(target.location), target.name)
    else:
        found = find_entry_point(group, target.location)
        if found is None:
            raise ExtensionError(f"No installed package has the entry point {target.location!r}")
        with explained(target.name):
            digest = digest_paths(find_module_files(found.value.partition(":")[0]))
        origin = CodeOrigin(
            kind="entry_point",
            distribution=found.dist.name if found.dist else None,
            version=found.dist.version if found.dist else None,
            sha256=digest,
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
