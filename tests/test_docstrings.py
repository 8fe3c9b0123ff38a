"""The docstrings of the public API: their examples run, and their first lines are sentences."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType

import pytest

import fusion_core
from fusion_core.methods import METHODS

MODULES = [
    "irfuse",
    *(
        info.name
        for info in pkgutil.walk_packages(fusion_core.__path__, "fusion_core.")
        if not info.ispkg
    ),
]


def find_examples(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    return [test for test in found if test.examples]


def own_members(module: str) -> Iterator[tuple[str, object]]:
    for name, member in vars(importlib.import_module(module)).items():
        if getattr(member, "__module__", None) == module and not name.startswith("_"):
            yield name, member


@pytest.mark.parametrize("module", [name for name in MODULES if find_examples(name)])
def test_examples_print_their_documented_output(module: str) -> None:
    reports: list[str] = []
    for test in find_examples(module):
        doctest.DocTestRunner(verbose=False).run(test, out=reports.append)
    assert "".join(reports) == ""


def test_the_api_and_every_method_and_metric_have_an_example() -> None:
    for name in ("irfuse", "fusion_core.api", *(f"fusion_core.methods.{m}" for m in METHODS)):
        assert find_examples(name), name
    metrics = [name for name in MODULES if name.startswith("fusion_core.metrics")]
    tested = {test.name for name in metrics for test in find_examples(name)}
    functions = {
        f"{module}.{name}"
        for module in metrics
        for name, member in own_members(module)
        if isinstance(member, FunctionType)
        if list(inspect.signature(member).parameters) == ["ir", "vis", "fused"]
    }
    assert len(functions) >= 12
    assert functions <= tested


def test_every_public_function_and_class_is_described_in_a_sentence() -> None:
    for module in MODULES:
        for name, member in own_members(module):
            if inspect.isclass(member) or inspect.isfunction(member):
                first = (member.__doc__ or "").split("\n\n")[0]
                assert first.rstrip().endswith((".", ":")), f"{module}.{name}"
