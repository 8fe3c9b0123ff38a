"""Inner loops of colour and of PNG files, compiled for the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled, inlined

Bytes = NDArray[np.uint8]

_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)


@compiled
def weigh_channels(rgb: Bytes, gray: Bytes) -> None:
    """Write the luma of pixels, in thousandths as whole numbers, so that ties are rounded up.

    Args:
        rgb: `(N, 3)`.
        gray: `(N,)`, which is written.
    """
    for n in range(len(gray)):
        weighed = (
            np.uint32(299) * rgb[n, 0] + np.uint32(587) * rgb[n, 1] + np.uint32(114) * rgb[n, 2]
        )
        gray[n] = (np.uint32(weighed) + np.uint32(500)) // np.uint32(1000)


@compiled
def undo_filters(filtered: Bytes, pixels: Bytes, step: int) -> bool:
    """Undo the filters of the rows of a PNG (W3C PNG, third edition, section 9).

    Args:
        filtered: `(H, 1 + W)`: the number of the filter, and the bytes of the row.
        pixels: `(H, W)`, which is written.
        step: Bytes of a pixel.

    Returns:
        Whether all filters are known.
    """
    height, width = pixels.shape
    above = np.zeros(width, np.uint8)
    for y in range(height):
        kind, row, out = filtered[y, 0], filtered[y, 1:], pixels[y]
        if kind == _NONE:
            out[:] = row
        elif kind == _SUB:
            for x in range(width):
                out[x] = row[x] + _before(out, x, step)
        elif kind == _UP:
            for x in range(width):
                out[x] = row[x] + above[x]
        elif kind == _AVERAGE:
            for x in range(width):
                out[x] = row[x] + (_before(out, x, step) + np.int32(above[x])) // 2
        elif kind == _PAETH:
            for x in range(width):
                left, corner = _before(out, x, step), _before(above, x, step)
                out[x] = row[x] + _nearest(left, np.int32(above[x]), corner)
        else:
            return False
        above = out
    return True


@inlined
def _before(row: Bytes, x: int, step: int) -> np.int32:
    """Return the byte of the pixel before; 0 at the edge."""
    return np.int32(row[x - step]) if x >= step else np.int32(0)


@inlined
def _nearest(left: np.int32, above: np.int32, corner: np.int32) -> np.int32:
    """Return the one of three bytes that is nearest to left + above - corner."""
    to_left, to_above = abs(above - corner), abs(left - corner)
    to_corner = abs(left + above - corner - corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner
