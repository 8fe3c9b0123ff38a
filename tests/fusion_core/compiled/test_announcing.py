"""The announcement that kernels are compiled."""

from __future__ import annotations

import numba

from fusion_core.compiled.announcing import announced_compilation


def test_a_compilation_is_announced_once() -> None:
    first, second = numba.njit(lambda x: x + 1), numba.njit(lambda x: x + 2)
    announced: list[str] = []
    with announced_compilation(announced.append):
        assert first(1) + second(1) == 5
    assert len(announced) == 1
    assert announced[0].startswith("Compiling kernels; they cannot be kept")


def test_what_is_compiled_already_is_not_announced() -> None:
    function = numba.njit(lambda x: x + 1)
    function(1)
    announced: list[str] = []
    with announced_compilation(announced.append):
        function(2)
    assert announced == []
