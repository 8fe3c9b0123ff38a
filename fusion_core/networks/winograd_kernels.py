"""The transforms of Winograd's convolution F(4x4, 3x3), compiled for the CPU.

A transform maps six vectors of sixteen channels to six or four. It is written as instructions on
vectors, because a compiler does not find them in loops whose arrays may overlap: each vector is one
register of AVX-512, two of AVX2, or four of SSE and NEON.

The arrays are flat, and places in them are offsets of float32 values. The kernels do not check
them; they are right for what `winograd.convolve` passes.
"""

# ruff: noqa: ANN401 (of llvmlite, which has no types)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled

Flat = NDArray[np.float32]

LANES = 16
"""Channels of a vector."""
_SIDE, _STEP = 6, 4
"""Side of a tile of the input, and of the output."""
_A, _B = 0.5**0.5, 2.0**0.5
"""The polynomials are interpolated at 0, ±A, ±B and infinity: with A B = 1 the error is a fifth of
that at the usual points, ±1 and ±2."""
_LINE = _SIDE * LANES
"""Length of a line of six vectors between the two passes of a transform."""
_SCRATCH = _SIDE * _LINE + _STEP * LANES

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FAST = ("contract", "reassoc", "nsz")


def _times(builder: Any, vector: Any, factor: float) -> Any:
    return builder.fmul(vector, ir.Constant(_VECTOR, [factor] * LANES), flags=_FAST)


def _plus(builder: Any, left: Any, right: Any) -> Any:
    return builder.fadd(left, right, flags=_FAST)


def _minus(builder: Any, left: Any, right: Any) -> Any:
    return builder.fsub(left, right, flags=_FAST)


def _to_products(b: Any, v: list[Any]) -> list[Any]:
    """Multiply by the matrix B^T of the paper: six values to six."""
    even_a = _minus(b, v[4], _times(b, v[2], _B * _B))
    odd_a = _times(b, _minus(b, v[3], _times(b, v[1], _B * _B)), _A)
    even_b = _minus(b, v[4], _times(b, v[2], _A * _A))
    odd_b = _times(b, _minus(b, v[3], _times(b, v[1], _A * _A)), _B)
    middle = _A * _A + _B * _B
    return [
        _plus(b, _minus(b, v[0], _times(b, v[2], middle)), v[4]),
        _plus(b, even_a, odd_a),
        _minus(b, even_a, odd_a),
        _plus(b, even_b, odd_b),
        _minus(b, even_b, odd_b),
        _plus(b, _minus(b, v[1], _times(b, v[3], middle)), v[5]),
    ]


def _from_products(b: Any, v: list[Any]) -> list[Any]:
    """Multiply by the matrix A^T of the paper: six values to four."""
    sum_a, difference_a = _plus(b, v[1], v[2]), _minus(b, v[1], v[2])
    sum_b, difference_b = _plus(b, v[3], v[4]), _minus(b, v[3], v[4])

    def mixed(first: Any, second: Any, power: int) -> Any:
        return _plus(b, _times(b, first, _A**power), _times(b, second, _B**power))

    return [
        _plus(b, _plus(b, v[0], sum_a), sum_b),
        mixed(difference_a, difference_b, 1),
        mixed(sum_a, sum_b, 2),
        _plus(b, mixed(difference_a, difference_b, 3), v[5]),
    ]


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())


def _load(*arguments: Any) -> Any:
    vector = arguments[1].load(_place(*arguments))
    vector.align = 4
    return vector


def _store(vector: Any, *arguments: Any) -> None:
    arguments[1].store(vector, _place(*arguments)).align = 4


def _spread(builder: Any, value: Any) -> Any:
    """Return a vector of equal values."""
    whole = ir.IntType(32)
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(whole, 0))
    places = ir.Constant(ir.VectorType(whole, LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, places)


def _transform(matrix: Callable[[Any, list[Any]], list[Any]]) -> Callable[..., None]:
    """Return a function that loads six vectors, multiplies by a matrix, and stores the results.

    Its arguments are the source, the place of the first vector and the distance of the next, and
    the same of the target.
    """

    @intrinsic
    def transform(
        context: Any,
        source: Any,
        at: Any,
        step: Any,
        target: Any,
        to: Any,
        jump: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            def place(start: Any, step: Any, number: int) -> Any:
                return builder.add(start, builder.mul(step, ir.Constant(step.type, number)))

            kinds = signature.args
            vectors = [
                _load(context, builder, kinds[0], given[0], place(given[1], given[2], n))
                for n in range(_SIDE)
            ]
            for n, result in enumerate(matrix(builder, vectors)):
                _store(result, context, builder, kinds[3], given[3], place(given[4], given[5], n))
            return context.get_dummy_value()

        whole = types.int64
        return types.void(source, whole, whole, target, whole, whole), generate

    return transform


_load_products = _transform(_to_products)
_load_results = _transform(_from_products)


@intrinsic
def _add_vectors(
    context: Any,
    source: Any,
    at: Any,
    bias: Any,
    channel: Any,
    least: Any,
    target: Any,
    to: Any,
) -> Any:
    """Store the sum of two vectors, or the least value where it is below that."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kinds = signature.args
        left = _load(context, builder, kinds[0], given[0], given[1])
        right = _load(context, builder, kinds[2], given[2], given[3])
        total, least = _plus(builder, left, right), _spread(builder, given[4])
        total = builder.select(builder.fcmp_ordered("<", total, least), least, total)
        _store(total, context, builder, kinds[5], given[5], given[6])
        return context.get_dummy_value()

    whole = types.int64
    return types.void(source, whole, bias, whole, types.float32, target, whole), generate


@compiled
def transform_tiles(
    source: Flat,
    image: int,
    steps: tuple[int, int],
    size: tuple[int, int, int],
    padding: int,
    first: int,
    count: int,
    products: Flat,
) -> None:
    """Transform tiles of an image, of which neighbours overlap by two pixels.

    Args:
        source: Images, channels last.
        image: Place of the image.
        steps: Distances of rows and of pixels.
        size: Height, width, and channels, a multiple of 16.
        padding: Zeros around the image.
        first: Number of the first tile, row by row.
        count: Number of tiles.
        products: Result: `(36, T, C)` with T >= count.
    """
    height, width, channels = size
    across = (width + 2 * padding - 2 + _STEP - 1) // _STEP
    row, pixel = steps
    scratch = np.empty(_SCRATCH, np.float32)
    patch = np.empty(_SIDE * _SIDE * channels, np.float32)
    for number in range(count):
        y = (first + number) // across * _STEP - padding
        x = (first + number) % across * _STEP - padding
        to = number * channels
        if y >= 0 and x >= 0 and y + _SIDE <= height and x + _SIDE <= width:
            place = image + y * row + x * pixel
            _transform_tile(source, place, row, pixel, channels, scratch, products, to)
        else:
            _cut(source, image, steps, size, y, x, patch)
            line = _SIDE * channels
            _transform_tile(patch, 0, line, channels, channels, scratch, products, to)


@compiled
def _transform_tile(
    source: Flat,
    place: int,
    row: int,
    pixel: int,
    channels: int,
    scratch: Flat,
    products: Flat,
    to: int,
) -> None:
    plane = products.size // (_SIDE * _SIDE)
    for c in range(0, channels, LANES):
        for x in range(_SIDE):
            _load_products(source, place + x * pixel + c, row, scratch, x * LANES, _LINE)
        for y in range(_SIDE):
            _load_products(scratch, y * _LINE, LANES, products, _SIDE * y * plane + to + c, plane)


@compiled
def _cut(
    source: Flat,
    image: int,
    steps: tuple[int, int],
    size: tuple[int, int, int],
    top: int,
    left: int,
    patch: Flat,
) -> None:
    """Copy a tile that reaches over the border, with zeros outside."""
    height, width, channels = size
    patch[:] = np.float32(0.0)
    for y in range(max(0, -top), min(_SIDE, height - top)):
        for x in range(max(0, -left), min(_SIDE, width - left)):
            place = image + (top + y) * steps[0] + (left + x) * steps[1]
            to = (_SIDE * y + x) * channels
            patch[to : to + channels] = source[place : place + channels]


@compiled
def transform_back(
    products: Flat,
    bias: Flat,
    least: np.float32,
    first: int,
    count: int,
    target: Flat,
    image: int,
    steps: tuple[int, int],
    size: tuple[int, int, int],
) -> None:
    """Transform products to tiles of the result, and add the bias.

    Args:
        products: `(36, T, K)` with T >= count.
        bias: `(K,)`.
        least: Value to which lower results are raised.
        first: Number of the first tile, row by row.
        count: Number of tiles.
        target: Results, channels last.
        image: Place of the image in the results.
        steps: Distances of rows and of pixels of the results.
        size: Height and width of the result, and its channels, a multiple of 16.
    """
    height, width, channels = size
    across = (width + _STEP - 1) // _STEP
    plane = products.size // (_SIDE * _SIDE)
    scratch = np.empty(_SCRATCH, np.float32)
    results = _SIDE * _LINE
    for number in range(count):
        top = (first + number) // across * _STEP
        left = (first + number) % across * _STEP
        rows, columns = min(_STEP, height - top), min(_STEP, width - left)
        for c in range(0, channels, LANES):
            at = number * channels + c
            for x in range(_SIDE):
                _load_results(products, at + x * plane, _SIDE * plane, scratch, x * LANES, _LINE)
            for y in range(rows):
                _load_results(scratch, y * _LINE, LANES, scratch, results, LANES)
                to = image + (top + y) * steps[0] + left * steps[1] + c
                for x in range(columns):
                    at = results + x * LANES
                    _add_vectors(scratch, at, bias, c, least, target, to + x * steps[1])
