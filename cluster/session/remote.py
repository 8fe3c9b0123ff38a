"""Classes and functions that are sent to workers by value, to avoid imports of other modules.

Ray puts the driver's working directory and the folder of its script first on the workers' path.
Either may contain a file `cluster.py` or a folder `jobs`, and code that is sent by reference would
be imported from there. Classes and functions that are defined inside a function are sent by value.
Those in this module import `irfuse` on the worker, which imports its own packages from where they
are installed, before any argument that refers to them is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ray


def actor_class(
    home: str,
    name: str,
    methods: Mapping[str, Mapping[str, Any]],
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return a Ray actor class that wraps a class of irfuse.

    Args:
        home: Module of the class.
        name: Name of the class.
        methods: Remote methods of the actor, each with its options for `ray.method`.
        **options: Options for `ray.remote`.
    """
    load = _loader()

    def create(self: Any, *arguments: Any) -> None:  # noqa: ANN401
        self.instance = load(home, name)(*arguments)

    def delegate(method: str) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any) -> Any:  # noqa: ANN401
            return getattr(self.instance, method)(*arguments)

        call.__name__ = method
        given = methods[method]
        return ray.method(**given)(call) if given else call

    members = {method: delegate(method) for method in methods}
    return ray.remote(**options)(type(f"{name}Actor", (), {"__init__": create, **members}))


def remote_function(home: str, name: str) -> Callable[..., Any]:
    """Return a function for workers that calls a function of irfuse."""
    load = _loader()

    def call(*arguments: Any) -> Any:  # noqa: ANN401
        return load(home, name)(*arguments)

    return call


def _loader() -> Callable[[str, str], Any]:
    """Return a function that returns an attribute of a module of irfuse."""

    def load(home: str, name: str) -> Any:  # noqa: ANN401
        import importlib
        import sys
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec
        from pathlib import Path

        for folder in sys.path if "irfuse" not in sys.modules else ():
            spec = PathFinder.find_spec("irfuse", [folder or "."])
            if spec is None or spec.loader is None or spec.origin is None:
                continue
            # Another file of this name has no `fusion_core` in or next to its folder.
            above = Path(spec.origin).resolve().parents
            if any((parent / "fusion_core" / "errors.py").is_file() for parent in above):
                sys.modules["irfuse"] = module_from_spec(spec)
                spec.loader.exec_module(sys.modules["irfuse"])
                break
        importlib.import_module("irfuse")
        return getattr(importlib.import_module(home), name)

    return load
