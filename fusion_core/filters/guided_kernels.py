"""The guided filter, compiled for the CPU: the operations of `guided`, in their order.

Strips of columns, and single rows, stay in the cache while their sums are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled

Values = NDArray[Any]
"""All of one type, float32 or float64."""
Number = np.floating[Any]

_STRIP = 16
"""Columns that are summed at a time."""


@compiled
def filter_guided(
    guide: Values,
    images: Values,
    same: bool,
    size: Values,
    radius: int,
    area: Number,
    epsilon: Number,
    result: Values,
) -> None:
    """Smooth images, with the edges of a guide.

    Args:
        guide: `(N, H, W)`.
        images: Likewise.
        same: Whether the images are their own guide.
        size: Share of each window that lies inside of the image, `(H, W)`.
        radius: Radius of the windows, at least 1.
        area: Pixels of a window, of the type of the values.
        epsilon: Added to the variance of the guide, of the type of the values.
        result: `(N, H, W)`.
    """
    count, height, width = guide.shape
    strips = np.zeros((3, (height + 2 * radius) * _STRIP), guide.dtype)
    lines = np.zeros((2, width + 2 * radius), guide.dtype)
    sums = np.empty((2 if same else 4, height, width), guide.dtype)
    means = np.empty((4, width), guide.dtype)
    slopes, offsets = np.empty((2, height, width), guide.dtype)
    for n in range(count):
        _add_columns(guide[n], guide[n], False, radius, strips, sums[0])
        _add_columns(guide[n], guide[n], True, radius, strips, sums[1])
        if not same:
            _add_columns(images[n], guide[n], False, radius, strips, sums[2])
            _add_columns(images[n], guide[n], True, radius, strips, sums[3])
        for y in range(height):
            for kind in range(len(sums)):
                _average_rows(sums[kind, y], size[y], radius, area, lines, means[kind])
            slope, offset = slopes[y], offsets[y]
            guide_mean, square = means[0], means[1]
            image_mean, product = (means[0], means[1]) if same else (means[2], means[3])
            for x in range(width):
                variance = square[x] - guide_mean[x] * guide_mean[x]
                covariance = product[x] - guide_mean[x] * image_mean[x]
                slope[x] = covariance / (variance + epsilon)
                offset[x] = image_mean[x] - slope[x] * guide_mean[x]
        _add_columns(slopes, slopes, False, radius, strips, sums[0])
        _add_columns(offsets, offsets, False, radius, strips, sums[1])
        for y in range(height):
            for kind in range(2):
                _average_rows(sums[kind, y], size[y], radius, area, lines, means[kind])
            slope, offset, row, target = means[0], means[1], guide[n, y], result[n, y]
            for x in range(width):
                target[x] = slope[x] * row[x] + offset[x]


@compiled
def _add_columns(
    maps: Values, factors: Values, multiplied: bool, radius: int, strips: Values, sums: Values
) -> None:
    """Sum windows of one column; beyond the border is zero.

    Args:
        maps: `(H, W)`.
        factors: `(H, W)`, by which maps are multiplied if `multiplied` is true.
        multiplied: Whether they are.
        radius: Radius of the windows.
        strips: Memory, `(3, (H + 2 radius) * S)`.
        sums: Result, `(H, W)`.
    """
    height, width = maps.shape
    strip, total = strips[0], strips[2]
    margin = radius * _STRIP
    for left in range(0, width, _STRIP):
        columns = min(_STRIP, width - left)
        strip[:margin] = 0.0
        strip[margin + height * _STRIP :] = 0.0
        for y in range(height):
            place, row = strip[margin + y * _STRIP :], maps[y, left : left + columns]
            if multiplied:
                other = factors[y, left : left + columns]
                for x in range(columns):
                    place[x] = row[x] * other[x]
            else:
                for x in range(columns):
                    place[x] = row[x]
        _sum_neighbours(strip, strips[1], _STRIP, 2 * radius + 1, total[: height * _STRIP])
        for y in range(height):
            place, row = total[y * _STRIP :], sums[y, left : left + columns]
            for x in range(columns):
                row[x] = place[x]


@compiled
def _average_rows(
    row: Values, size: Values, radius: int, area: Number, lines: Values, means: Values
) -> None:
    """Average windows of one row, from sums of columns; beyond the border is zero.

    Args:
        row: `(W,)`.
        size: Share of each window that lies inside of the image, `(W,)`.
        radius: Radius of the windows.
        area: Pixels of a window.
        lines: Memory, `(2, W + 2 radius)`.
        means: Result, `(W,)`.
    """
    width, line = len(row), lines[0]
    line[:radius] = 0.0
    line[radius : radius + width] = row
    line[radius + width :] = 0.0
    _sum_neighbours(line, lines[1], 1, 2 * radius + 1, means)
    for x in range(width):
        means[x] = means[x] / area / size[x]


@compiled
def _sum_neighbours(blocks: Values, spare: Values, step: int, size: int, total: Values) -> None:
    """Sum `size` values each, with a distance of `step`, in the order of `box.sliding_sums`.

    The first two arguments are overwritten.
    """
    length, block, offset = len(blocks), 1, 0
    while True:
        if size & block:
            further = blocks[offset * step :]
            if offset == 0:
                for x in range(len(total)):
                    total[x] = further[x]
            else:
                for x in range(len(total)):
                    total[x] = total[x] + further[x]
            offset += block
        if 2 * block > size:
            return
        length -= block * step
        further = blocks[block * step :]
        for x in range(length):
            spare[x] = blocks[x] + further[x]
        blocks, spare = spare, blocks
        block *= 2
