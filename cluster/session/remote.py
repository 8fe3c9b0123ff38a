"""Code that is sent to workers by value, so that no worker imports a stranger's module for it.

Ray puts the driver's working directory first on the workers' path, where a file `cluster.py` or a
folder `jobs` may lie. What is sent by reference would be looked up there. A class or function that
is made inside a function is sent by value; those here import `irfuse` on the worker, which imports
its own packages from where they are installed, before any argument that refers to them arrives.
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
    """Return a Ray actor class that holds an instance of a class of irfuse.

    Args:
        home: Module of the class.
        name: Name of the class.
        methods: Its methods that can be called, each with its options for `ray.method`.
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
    """Return a function, to be called on a worker, that calls a function of irfuse."""

    def call(*arguments: Any) -> Any:  # noqa: ANN401
        import importlib

        importlib.import_module("irfuse")
        return getattr(importlib.import_module(home), name)(*arguments)

    return call
