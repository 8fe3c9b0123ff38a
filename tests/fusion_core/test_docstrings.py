"""The examples in the docstrings of `fusion_core` give what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import fusion_core
from fusion_core.methods import METHODS

MODULES = [
    info.name
    for info in pkgutil.walk_packages(fusion_core.__path__, "fusion_core.")
    if not info.ispkg
    and info.name.split(".")[1] in {"api", "parameters", "images", "methods", "networks"}
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_api_and_every_method_have_an_example() -> None:
    for name in ("fusion_core.api", *(f"fusion_core.methods.{method}" for method in METHODS)):
        finder = doctest.DocTestFinder(exclude_empty=True)
        found = finder.find(importlib.import_module(name))
        assert any(test.examples for test in found), name


def test_every_public_function_and_class_is_described_in_a_sentence() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        for member_name, member in inspect.getmembers(module):
            own = getattr(member, "__module__", None) == name and not member_name.startswith("_")
            if own and (inspect.isclass(member) or inspect.isfunction(member)):
                first = (member.__doc__ or "").split("\n\n")[0]
                assert first.rstrip().endswith((".", ":")), f"{name}.{member_name}"
