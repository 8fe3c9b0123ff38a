"""The method that a name stands for: one of irfuse, or one of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fusion_core.errors import InvalidValueError
from fusion_core.extensions.code import Extension, pack
from fusion_core.extensions.defining import to_method_spec
from fusion_core.extensions.entry_points import (
    EntryPointGroup,
    find_entry_point,
    list_entry_points,
)
from fusion_core.extensions.names import parse_target
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
    sha256: str = ""
    """SHA-256 of the code of a method that is not one of irfuse."""


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


def find_method(name: str) -> FoundMethod:
    """Return the method that a name stands for.

    Args:
        name: Name of a method of irfuse or of an installed package, `MODULE:NAME`, or
            `FILE.py:NAME`.

    Raises:
        InvalidValueError: There is no such method; the message suggests similar names.
        ExtensionError: A method of the user's own cannot be loaded.

    >>> find_method("average").spec.title
    'Mean of the sources'
    """
    if name in METHODS:
        return FoundMethod(name, METHODS[name])
    target = parse_target(name)
    if target.kind == "entry_point" and find_entry_point(_GROUP, name) is None:
        known = [*METHODS, *list_entry_points(_GROUP)]
        raise InvalidValueError(unknown_name("method", name, known))
    extension = pack(target, _GROUP)
    return FoundMethod(extension.name, load_method(extension), extension, extension.origin.sha256)


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
    spec = to_method_spec(extension.load(_GROUP, sent=sent), extension.name)
    return replace(spec, name=extension.name, build=GuardedBuild(spec.build))
