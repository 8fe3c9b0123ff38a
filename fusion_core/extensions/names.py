"""How a method or metric of the user's own is named.

This module imports only the standard library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from fusion_core.errors import InvalidValueError

Kind = Literal["entry_point", "module", "file", "onnx", "torch_export", "torchscript"]
"""Where the code of a method or metric comes from."""

MODEL_SUFFIXES: dict[str, Kind] = {
    ".onnx": "onnx",
    ".pt2": "torch_export",
    ".pt": "torchscript",
}
"""Model files, by the endings of their names."""
MODEL_KINDS = tuple(MODEL_SUFFIXES.values())
"""Kinds of model files."""

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Target:
    """A method or metric of the user's own, as it was named."""

    kind: Kind
    location: str
    """Name of an entry point, module, or path of a file."""
    attribute: str = ""
    """Name of the object in a module or Python file."""

    @property
    def name(self) -> str:
        """The name in rows and tables, which does not depend on the folder of a file."""
        if self.kind == "entry_point":
            return self.location
        place = self.location if self.kind == "module" else PurePath(self.location).name
        return f"{place}:{self.attribute}" if self.attribute else place


def parse_target(text: str) -> Target:
    """Parse the name of a method or metric that irfuse does not include.

    Args:
        text: Name of an entry point, `MODULE:NAME`, `FILE.py:NAME`, or the path of a model file,
            which ends in .onnx, .pt2 or .pt.

    Raises:
        InvalidValueError: The text has none of these forms.

    >>> parse_target("./fuse.py:fuse")
    Target(kind='file', location='./fuse.py', attribute='fuse')
    >>> parse_target("mypackage.fusion:fuse").kind
    'module'
    >>> parse_target("models/seafusion.onnx").name
    'seafusion.onnx'
    """
    suffix = PurePath(text).suffix
    if suffix in MODEL_SUFFIXES:
        return Target(MODEL_SUFFIXES[suffix], text)
    location, colon, attribute = text.rpartition(":")
    if not colon and suffix != ".py":
        return Target("entry_point", text)
    if not attribute.isidentifier() or not colon:
        raise InvalidValueError(
            f"Expected the name of an object after a colon, such as fuse.py:fuse, but got {text!r}"
        )
    if location.endswith(".py"):
        return Target("file", location, attribute)
    if _MODULE.fullmatch(location):
        return Target("module", location, attribute)
    raise InvalidValueError(
        f"Expected MODULE:NAME or FILE.py:NAME, but got {text!r}; "
        f"{location!r} is neither the name of a module nor a file that ends in .py"
    )
