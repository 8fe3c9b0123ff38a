"""Elementary functions without branches, so that loops over them become vector instructions.

The C library's are scalar calls, several times slower in a loop. Each is
accurate to a few units in the last place for the arguments that its docstring names, and undefined
for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

from fusion_core.compiled.compiling import inlined


@intrinsic
def _bits(context: Any, x: Any) -> Any:  # noqa: ANN401
    """Reinterpret a float64 as an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _from_bits(context: Any, x: Any) -> Any:  # noqa: ANN401
    """Reinterpret an int64 as a float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def _exponent_single(context: Any, x: Any) -> Any:  # noqa: ANN401
    """Return the exponent of a float32 whose mantissa is from sqrt(1/2) to sqrt(2), as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        exponent, _ = _split_single(builder, arguments[0])
        return builder.sitofp(exponent, ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def _mantissa_single(context: Any, x: Any) -> Any:  # noqa: ANN401
    """Return the mantissa of a float32, from sqrt(1/2) to sqrt(2)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        exponent, bits = _split_single(builder, arguments[0])
        shift = ir.Constant(ir.IntType(32), _EXPONENT_SHIFT_SINGLE)
        return builder.bitcast(builder.sub(bits, builder.shl(exponent, shift)), ir.FloatType())

    return types.float32(types.float32), generate


def _split_single(builder: Any, x: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Compute exponent and bits with integers of 32 bits, which numba would widen."""
    bits = builder.bitcast(x, ir.IntType(32))
    above = builder.sub(bits, ir.Constant(ir.IntType(32), _SQRT_HALF_BITS_SINGLE))
    return builder.ashr(above, ir.Constant(ir.IntType(32), _EXPONENT_SHIFT_SINGLE)), bits


def _fit(function: Callable[[Any], Any], end: float, degree: int) -> tuple[float, ...]:
    """Interpolate on 0..end at Chebyshev points: coefficients, the highest power first."""
    fitted = Chebyshev.interpolate(function, degree, domain=[0.0, end])
    coefficients = fitted.convert(kind=Polynomial, domain=[-1.0, 1.0]).coef
    return tuple(float(value) for value in coefficients[::-1])


def _log2_of_ratio(z: Any) -> Any:  # noqa: ANN401
    root = np.sqrt(np.maximum(z, 1e-20))
    return 2.0 / math.log(2.0) * np.arctanh(root) / root


def _arctan_of_root(z: Any) -> Any:  # noqa: ANN401
    root = np.sqrt(np.maximum(z, 1e-20))
    return np.arctan(root) / root


_LOG2 = _fit(_log2_of_ratio, (3.0 - 2.0 * math.sqrt(2.0)) ** 2, 7)
"""log2((1 + s) / (1 - s)) / s in powers of s**2, for mantissas from sqrt(1/2) to sqrt(2)."""
_LOG2_SINGLE = tuple(
    np.float32(c) for c in _fit(_log2_of_ratio, (3.0 - 2.0 * math.sqrt(2.0)) ** 2, 3)
)
"""The same, as precise as float32 is."""
_ARCTAN = _fit(_arctan_of_root, (math.sqrt(2.0) - 1.0) ** 2, 12)
"""arctan(t) / t in powers of t**2, for t up to tan(pi / 8)."""
_EXP = tuple(1.0 / math.factorial(power) for power in range(12, -1, -1))

_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_EXPONENT_SHIFT, _EXPONENT_BIAS = 52, 1023
_SQRT_HALF_BITS_SINGLE, _EXPONENT_SHIFT_SINGLE = 0x3F3504F3, 23
_ONE_SINGLE = np.float32(1.0)
_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = math.ldexp(math.floor(math.ldexp(math.log(2.0), 32)), -32)
"""log 2 truncated to 32 bits, so that its integer multiples are exact."""
_LN2_LOW = 1.9082149292705877e-10
"""The rest of log 2, beyond the precision of float64 too."""
_TAN_1, _TAN_3 = math.sqrt(2.0) - 1.0, math.sqrt(2.0) + 1.0  # of pi / 8 and 3 pi / 8
_QUARTER, _HALF = math.pi / 4.0, math.pi / 2.0


@inlined
def log2(x: float) -> float:
    """Logarithm to base 2 of a positive normal number."""
    exponent = (_bits(x) - _SQRT_HALF_BITS) >> _EXPONENT_SHIFT
    mantissa = _from_bits(_bits(x) - (exponent << _EXPONENT_SHIFT))
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    p = _LOG2[0]
    for coefficient in _LOG2[1:]:
        p = p * z + coefficient
    return float(exponent) + s * p


@inlined
def log2_single(x: np.float32) -> np.float32:
    """Logarithm to base 2 of a positive normal float32."""
    mantissa: np.float32 = _mantissa_single(x)
    s = (mantissa - _ONE_SINGLE) / (mantissa + _ONE_SINGLE)
    z = s * s
    p = _LOG2_SINGLE[0]
    for coefficient in _LOG2_SINGLE[1:]:
        p = p * z + coefficient
    return _exponent_single(x) + s * p


@inlined
def exp(x: float) -> float:
    """Exponential of a number between -700 and 700; up to 3e-14 off where sums are reordered."""
    k = math.floor(x * _LOG2_E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = _EXP[0]
    for coefficient in _EXP[1:]:
        p = p * r + coefficient
    return p * _from_bits((int(k) + _EXPONENT_BIAS) << _EXPONENT_SHIFT)


@inlined
def arctan_of_quotient(y: float, x: float) -> float:
    """Arctangent of y / x in -pi/2..pi/2, for x other than 0 and sums that do not overflow."""
    ax, ay = abs(x), abs(y)
    steep, middle = ay > _TAN_3 * ax, ay > _TAN_1 * ax
    numerator = -ax if steep else (ay - ax if middle else ay)
    denominator = ay if steep else (ay + ax if middle else ax)
    offset = _HALF if steep else (_QUARTER if middle else 0.0)
    t = numerator / denominator
    z = t * t
    p = _ARCTAN[0]
    for coefficient in _ARCTAN[1:]:
        p = p * z + coefficient
    value = offset + t * p
    return -value if (x < 0.0) != (y < 0.0) else value
