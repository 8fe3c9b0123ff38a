"""Functions that are imported when they are called, so that registries do not import torch."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deferred:
    """A function of a module that is imported at the first call.

    >>> Deferred("math:hypot")(3, 4)
    5.0
    """

    reference: str
    """The function as `module:name`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call the function."""
        return _load(self.reference)(*args, **kwargs)


@functools.cache
def _load(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
