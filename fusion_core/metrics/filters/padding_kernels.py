"""Images on 0..1 with a border, from gray levels in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion_core.compiled.compiling import compiled

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


@compiled
def pad_units(
    images: NDArray[np.uint8], rows: Indices, columns: Indices, radius: int, padded: Doubles
) -> None:
    """Divide gray levels by 255, and surround them by other pixels or zeros.

    Args:
        images: `(N, H, W)`.
        rows: Index of the row at each position, -1 for zeros: `(H + 2 * radius,)`.
        columns: Likewise for columns.
        radius: Width of the border.
        padded: Written: `(N, H + 2 * radius, W + 2 * radius)`.
    """
    width = images.shape[2]
    for n in range(images.shape[0]):
        for y in range(rows.size):
            line = padded[n, y]
            if rows[y] < 0:
                line[:] = 0.0
                continue
            row = images[n, rows[y]]
            for x in range(width):
                line[radius + x] = row[x] / 255.0
            for x in range(radius):
                for place in (x, radius + width + x):
                    source = columns[place]
                    line[place] = 0.0 if source < 0 else row[source] / 255.0
