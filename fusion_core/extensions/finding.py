"""The method that a name stands for: one of irfuse, or one of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_core.errors import InvalidValueError
from fusion_core.extensions.code import Extension, pack
from fusion_core.extensions.defining import to_method_spec
from fusion_core.extensions.entry_points import (
    EntryPointGroup,
    find_entry_point,
    list_entry_points,
)
from fusion_core.extensions.models import model_spec
from fusion_core.extensions.names import MODEL_KINDS, Target, parse_target
from fusion_core.extensions.user_files import digest_files, read_file
from fusion_core.methods.base import FuseBatch, MethodSpec
from fusion_core.methods.registry import METHODS
from fusion_core.suggestions import unknown_name

if TYPE_CHECKING:
    import torch

_GROUP: EntryPointGroup = "irfuse.methods"


@dataclass(frozen=True)
class FoundMethod:
    """A method, and its code if it is not one of irfuse."""

    name: str
    """Name in rows and tables."""
    spec: MethodSpec = field(compare=False)
    extension: Extension | None = field(default=None, compare=False)
    identity: str = ""
    """Digests of the code of a method that is not one of irfuse, and of its side file."""


@dataclass(frozen=True, slots=True)
class GuardedBuild:
    """Builds a method whose calls are guarded."""

    build: Callable[[Any, Any, torch.device], FuseBatch]

    def __call__(self, parameters: Any, weights: Any, device: torch.device) -> FuseBatch:  # noqa: ANN401
        """Build the method."""
        from fusion_core.extensions.guarding import guard, restored_state  # imports torch

        with restored_state():
            fuse_batch = self.build(parameters, weights, device)
        return guard(fuse_batch)


def find_method(name: str, trust_code: str | None = None) -> FoundMethod:
    """Return the method that a name stands for.

    Args:
        name: Name of a method of irfuse or of an installed package, `MODULE:NAME`,
            `FILE.py:NAME`, or the path of a model file.
        trust_code: First digits of the SHA-256 of a model file that executes code.

    Raises:
        InvalidValueError: There is no such method; the message suggests similar names.
        ExtensionError: A method of the user's own cannot be loaded.

    >>> find_method("average").spec.title
    'Mean of the sources'
    """
    if name in METHODS:
        return FoundMethod(name, METHODS[name])
    extension = pack_method(find_target(name), trust_code)
    identity = f"{extension.origin.sha256} {extension.origin.side_file_sha256}"
    return FoundMethod(extension.name, load_method(extension), extension, identity)


def find_target(name: str) -> Target:
    """Return what the name of a method stands for that is not one of irfuse.

    Raises:
        InvalidValueError: The name has none of the known forms, or is that of no installed package;
            the message suggests similar names.
    """
    target = parse_target(name)
    if target.kind == "entry_point" and find_entry_point(_GROUP, name) is None:
        known = [*METHODS, *list_entry_points(_GROUP)]
        raise InvalidValueError(unknown_name("method", name, known))
    return target


def pack_method(target: Target, trust_code: str | None = None) -> Extension:
    """Collect the code of a method, or a model file, provided that it is trusted if it must be.

    Raises:
        ExtensionError: There is no such file, module or entry point, or a model file executes code
            and is not trusted.
    """
    extension = pack(target, _GROUP)
    origin = extension.origin
    if target.kind in ("torch_export", "torchscript"):
        from fusion_core.extensions.torch_files import check_trust

        check_trust(extension.name, origin.sha256, trust_code)
        return replace(extension, origin=origin.model_copy(update={"trusted": True}))
    if target.kind == "onnx":
        from fusion_core.extensions.onnx import read_onnx

        model = read_onnx(extension.files[extension.target.location], extension.name)
        folder = Path(target.location).parent
        weights = {name: read_file(folder / name) for name in model.external}
        model_files = {extension.name: extension.files[extension.name], **weights}
        changed = {"details": dict(model.details), "sha256": digest_files(model_files)}
        files = {**extension.files, **weights}
        return replace(extension, origin=origin.model_copy(update=changed), files=files)
    return extension


def load_method(extension: Extension, *, sent: bool = False) -> MethodSpec:
    """Load a method of the user's own.

    Args:
        extension: Its code.
        sent: Whether this process has received the code from another one.

    Returns:
        Its description. What it builds checks the results of the method, and leaves the global
        state of the process as it was.

    Raises:
        ExtensionError: It cannot be loaded.
    """
    spec = describe_method(extension, sent=sent)
    return replace(spec, name=extension.name, build=GuardedBuild(spec.build))


def describe_method(extension: Extension, *, sent: bool = False) -> MethodSpec:
    """Return the description of a method of the user's own, whose calls are not guarded.

    Raises:
        ExtensionError: It cannot be loaded.
    """
    if extension.target.kind in MODEL_KINDS:
        return model_spec(extension)
    return to_method_spec(extension.load(_GROUP, sent=sent), extension.name)
