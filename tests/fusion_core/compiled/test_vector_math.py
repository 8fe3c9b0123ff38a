"""Elementary functions of the kernels, as loops compiled in both of the kernels' ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from fusion_core.compiled import vector_math

Doubles = NDArray[np.float64]

LOG2_TOLERANCE = EXP_TOLERANCE = 1e-15
"""Relative."""
ARCTAN_TOLERANCE = 3e-15
"""Relative; the polynomial's own error is 2.5e-15 near tan(pi / 8)."""
EPSILON = float(np.finfo(np.float64).eps)

SMALLEST, LARGEST = np.finfo(np.float64).tiny, np.finfo(np.float64).max
TAN_1, TAN_3 = math.tan(math.pi / 8), math.tan(3 * math.pi / 8)
MODES: dict[str, Any] = {
    "as written": False,
    "sums reordered": {"contract", "reassoc", "nsz"},
}


def log2_each(x: Doubles, _: Doubles, out: Doubles) -> None:
    for n in range(x.size):
        out[n] = vector_math.log2(x[n])


def log2_single_each(x: Any, _: Any, out: Any) -> None:
    for n in range(x.size):
        out[n] = vector_math.log2_single(x[n])


def exp_each(x: Doubles, _: Doubles, out: Doubles) -> None:
    for n in range(x.size):
        out[n] = vector_math.exp(x[n])


def arctan_each(y: Doubles, x: Doubles, out: Doubles) -> None:
    for n in range(x.size):
        out[n] = vector_math.arctan_of_quotient(y[n], x[n])


class Loops:
    """The three functions over arrays, compiled without a cache: it would not see their changes."""

    def __init__(self, mode: str) -> None:
        self.reordered = bool(MODES[mode])
        compiled = njit(error_model="numpy", fastmath=MODES[mode])
        self._loops = [compiled(loop) for loop in (log2_each, exp_each, arctan_each)]

    def log2(self, x: Doubles) -> Doubles:
        return self._run(self._loops[0], x, x)

    def exp(self, x: Doubles) -> Doubles:
        return self._run(self._loops[1], x, x)

    def arctan_of_quotient(self, y: Doubles, x: Doubles) -> Doubles:
        return self._run(self._loops[2], y, x)

    def _run(self, loop: Callable[..., None], *arguments: Doubles) -> Doubles:
        out = np.full(arguments[0].size, np.nan)
        loop(*arguments, out)
        return out


@pytest.fixture(scope="module", params=MODES)
def loops(request: pytest.FixtureRequest) -> Loops:
    return Loops(request.param)


def around(*points: float) -> Doubles:
    """Return points with their neighbours, up to three steps of float64 away."""
    below = above = values = np.array(points)
    found = [values]
    for _ in range(3):
        below, above = np.nextafter(below, -np.inf), np.nextafter(above, np.inf)
        found += [below, above]
    return np.concatenate(found)


def random_normals(seed: int, count: int) -> Doubles:
    """Draw positive numbers of every exponent."""
    generator = np.random.default_rng(seed)
    return np.ldexp(generator.uniform(1.0, 2.0, count), generator.integers(-1022, 1024, count))


def assert_log2(loops: Loops, x: Doubles) -> None:
    np.testing.assert_allclose(loops.log2(x), np.log2(x), rtol=LOG2_TOLERANCE, atol=0)


def assert_exp(loops: Loops, x: Doubles) -> None:
    """Compare; reordered, both parts of the reduction's log 2 are joined again, and rounded."""
    expected = np.array([math.exp(value) for value in x])
    tolerance = EXP_TOLERANCE + (EPSILON * np.abs(x) if loops.reordered else 0.0)
    np.testing.assert_array_less(np.abs(loops.exp(x) - expected), tolerance * expected)


def assert_arctan(loops: Loops, y: Doubles, x: Doubles) -> None:
    found = loops.arctan_of_quotient(y, x)
    np.testing.assert_allclose(found, np.arctan(y / x), rtol=ARCTAN_TOLERANCE, atol=0)


def test_log2_of_numbers_of_every_exponent(loops: Loops) -> None:
    x = random_normals(1, 100_000)
    assert_log2(loops, x)


def test_log2_of_probabilities(loops: Loops) -> None:
    x = 1.0 - np.random.default_rng(2).random(100_000)
    assert_log2(loops, x)


def test_log2_near_one_loses_nothing(loops: Loops) -> None:
    steps = np.random.default_rng(3).uniform(-1.0, 1.0, 10_000)
    x = 1.0 + steps * np.logspace(-15, -1, steps.size)
    expected = np.log1p(x - 1.0) / math.log(2.0)
    np.testing.assert_allclose(loops.log2(x), expected, rtol=LOG2_TOLERANCE, atol=0)


def test_log2_of_powers_of_two_is_exact(loops: Loops) -> None:
    exponents = np.arange(-1022.0, 1024.0)
    np.testing.assert_array_equal(loops.log2(np.exp2(exponents)), exponents)


def test_log2_at_the_ends_of_its_mantissas(loops: Loops) -> None:
    x = around(math.sqrt(0.5), math.sqrt(2.0), 2.0 * math.sqrt(2.0), 1e-300 * math.sqrt(2.0))
    assert_log2(loops, x)


def test_log2_of_the_smallest_and_largest_normal_numbers(loops: Loops) -> None:
    x = np.array([SMALLEST, np.nextafter(SMALLEST, 1.0), np.nextafter(LARGEST, 1.0), LARGEST])
    assert_log2(loops, x)


@pytest.mark.parametrize("mode", MODES)
def test_log2_single_is_as_precise_as_float32(mode: str) -> None:
    loop = njit(error_model="numpy", fastmath=MODES[mode])(log2_single_each)
    generator = np.random.default_rng(9)
    drawn = np.ldexp(generator.uniform(1.0, 2.0, 100_000), generator.integers(-126, 128, 100_000))
    near_one = 1.0 + generator.uniform(-0.01, 0.01, 10_000)
    x = np.concatenate([drawn, near_one, np.exp2(np.arange(-126.0, 128.0))]).astype(np.float32)
    out = np.empty_like(x)
    loop(x, x, out)
    expected = np.log2(x.astype(np.float64))
    np.testing.assert_allclose(out, expected, rtol=3e-7, atol=1e-12)


def test_exp_over_its_whole_range(loops: Loops) -> None:
    x = np.random.default_rng(4).uniform(-700.0, 700.0, 100_000)
    assert_exp(loops, x)


def test_exp_of_small_numbers(loops: Loops) -> None:
    x = np.random.default_rng(5).uniform(-25.0, 25.0, 100_000)
    assert_exp(loops, x)


def test_exp_of_zeros_of_both_signs_is_one(loops: Loops) -> None:
    np.testing.assert_array_equal(loops.exp(np.array([0.0, -0.0])), [1.0, 1.0])


def test_exp_of_tiny_numbers_is_one(loops: Loops) -> None:
    x = np.array([SMALLEST, -SMALLEST, 1e-20, -1e-20])
    np.testing.assert_array_equal(loops.exp(x), np.ones(4))


def test_exp_at_the_ends_of_its_reduction(loops: Loops) -> None:
    halves = (np.arange(-1009, 1010) + 0.5) * math.log(2.0)
    x = around(*halves)
    assert_exp(loops, x)


def test_exp_at_whole_multiples_of_log_two_and_at_its_limits(loops: Loops) -> None:
    x = around(-700.0, 700.0, *(np.arange(-1009, 1010) * math.log(2.0)))
    assert_exp(loops, x)


def test_arctan_in_all_quadrants(loops: Loops) -> None:
    y, x = np.random.default_rng(6).uniform(-4.0, 4.0, (2, 100_000))
    assert_arctan(loops, y, x)


def test_arctan_of_quotients_of_every_size(loops: Loops) -> None:
    generator = np.random.default_rng(7)
    y, x = np.ldexp(generator.uniform(-1.0, 1.0, (2, 100_000)), generator.integers(-200, 200, 1))
    x *= np.logspace(-200, 200, x.size)
    assert_arctan(loops, y, x)


@pytest.mark.parametrize("boundary", [TAN_1, TAN_3, 1.0])
def test_arctan_at_the_ends_of_its_reduction(loops: Loops, boundary: float) -> None:
    y = np.concatenate([around(boundary), -around(boundary)])
    assert_arctan(loops, y, np.ones(y.size))


def test_arctan_is_odd_in_both_arguments(loops: Loops) -> None:
    y, x = np.random.default_rng(8).uniform(0.0, 3.0, (2, 10_000))
    value = loops.arctan_of_quotient(y, x)
    for signed in (loops.arctan_of_quotient(-y, x), loops.arctan_of_quotient(y, -x)):
        np.testing.assert_array_equal(signed, -value)
    np.testing.assert_array_equal(loops.arctan_of_quotient(-y, -x), value)


def test_arctan_of_zeros_of_both_signs_is_zero(loops: Loops) -> None:
    y, x = np.array([0.0, -0.0, 0.0, -0.0]), np.array([1.0, 1.0, -1.0, -1.0])
    np.testing.assert_array_equal(loops.arctan_of_quotient(y, x), np.zeros(4))


def test_arctan_of_tiny_normal_numbers(loops: Loops) -> None:
    y, x = SMALLEST * np.array([1.0, 1.0, 3.0, 1.0, -2.0]), SMALLEST * np.array([1, 3, 1, -1, 1])
    assert_arctan(loops, y, x)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_arctan_of_a_quotient_beyond_all_numbers_is_a_right_angle(
    loops: Loops, sign: float
) -> None:
    found = loops.arctan_of_quotient(np.array([sign * 1e200]), np.array([1e-200]))
    assert found.tolist() == [sign * math.pi / 2]
