"""Bands of an image, selected by their numbers or names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_core.errors import ImageDecodeError, InvalidValueError
from fusion_core.images.limits import Pixels

_COLOUR_BANDS = 3


def split_bands(bands: str) -> list[str]:
    """Split a selection into one band, or three for a colour image.

    Raises:
        InvalidValueError: The selection has another number of bands, or an empty one.

    >>> split_bands("red, green,4")
    ['red', 'green', '4']
    """
    parts = [part.strip() for part in bands.split(",")]
    if len(parts) not in (1, _COLOUR_BANDS) or not all(parts):
        raise InvalidValueError(
            "Expected the number or name of one band, or three separated by commas for a colour "
            f"image, but got {bands!r}"
        )
    return parts


def find_band(band: str, count: int, names: Sequence[str] = ()) -> int:
    """Return the index of a band, which is named by its number from 1 or by its name.

    Raises:
        ImageDecodeError: There is no such band; the message lists the bands.

    >>> find_band("2", 3), find_band("NIR", 3, ["red", "green", "nir"])
    (1, 2)
    """
    wanted = band.casefold()
    folded = [name.casefold() for name in names]
    if folded.count(wanted) == 1:
        return folded.index(wanted)
    if band.isdecimal() and 1 <= int(band) <= count:
        return int(band) - 1
    called = f" ({', '.join(name or '?' for name in names)})" if any(names) else ""
    raise ImageDecodeError(f"There is no band {band!r}: the image has {count}{called}")


def select_bands(image: Pixels, bands: str, names: Sequence[str] = ()) -> Pixels:
    """Select one band as a gray image, or three as a colour image.

    Args:
        image: `(H, W)` or `(H, W, C)`.
        bands: Numbers or names, separated by commas.
        names: Names of the bands, where the file has any.

    Returns:
        `(H, W)` or `(H, W, 3)`.

    Raises:
        InvalidValueError: Neither one nor three bands are selected.
        ImageDecodeError: A band does not exist.

    >>> select_bands(np.arange(6).reshape(1, 2, 3), "3").tolist()
    [[2, 5]]
    """
    channels = image[..., np.newaxis] if image.ndim == 2 else image
    found = [find_band(band, channels.shape[2], names) for band in split_bands(bands)]
    return channels[..., found[0]] if len(found) == 1 else channels[..., found]
