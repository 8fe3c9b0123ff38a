"""Classes and functions that are sent to workers by value, to avoid imports of other modules.

Ray puts the driver's working directory first on the workers' path, which may contain a file
`cluster.py` or a folder `jobs`. Code that is sent by reference would be imported from there.
Classes and functions that are defined inside a function are sent by value. Those in this module
import `irfuse` on the worker, which imports its own packages from where they are installed, before
any argument that refers to them is unpickled.
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

    def create(self: Any, *arguments: Any) -> None:  # noqa: ANN401
        import importlib

        importlib.import_module("irfuse")
        self.instance = getattr(importlib.import_module(home), name)(*arguments)

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

    def call(*arguments: Any) -> Any:  # noqa: ANN401
        import importlib

        importlib.import_module("irfuse")
        return getattr(importlib.import_module(home), name)(*arguments)

    return call
