"""The examples in the docstrings of the public API."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType

import pytest

import fusion_core.methods
import fusion_core.metrics

PACKAGES = (fusion_core.metrics, fusion_core.methods)


def public_modules() -> Iterator[str]:
    yield "fusion_core.api"
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield module.name


def find_examples(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module", [name for name in public_modules() if find_examples(name)])
def test_examples_print_what_they_say(module: str) -> None:
    reports: list[str] = []
    for test in find_examples(module):
        doctest.DocTestRunner(verbose=False).run(test, out=reports.append)
    assert "".join(reports) == ""


def test_every_metric_function_has_an_example() -> None:
    modules = [name for name in public_modules() if name.startswith(fusion_core.metrics.__name__)]
    tested = {test.name for name in modules for test in find_examples(name)}
    functions = {
        f"{name}.{function.__name__}"
        for name in modules
        for function in vars(importlib.import_module(name)).values()
        if isinstance(function, FunctionType) and function.__module__ == name
        if not function.__name__.startswith("_")
        if list(inspect.signature(function).parameters) == ["ir", "vis", "fused"]
    }
    assert len(functions) >= 12
    assert functions <= tested
