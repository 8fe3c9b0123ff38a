"""The registry of layouts: one entry per layout, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from cluster.collections.layouts import folders, four_channel, frames, infix, prefix, suffix
from cluster.collections.layouts.unmatched import Unmatched

LAYOUTS: dict[str, Callable[[Unmatched], None]] = {
    "folders": folders.match,
    "frames": frames.match,
    "prefix": prefix.match,
    "suffix": suffix.match,
    "infix": infix.match,
    "four_channel": four_channel.match,
}
"""Functions that take the pairs of a layout from the images that are not matched yet."""

if TYPE_CHECKING:
    Layout: TypeAlias = str
else:
    Layout = Literal[("auto", *LAYOUTS)]
    """Name of a layout, or `auto` for all."""
