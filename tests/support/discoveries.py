"""Pairs that were found in a list of files."""

from __future__ import annotations

from cluster.collections.layouts import Discovery

LABELS = "labels, masks and annotations"
OTHER_FORMAT = "another format of a paired image"


def png_head(colour_type: int) -> bytes:
    """Return the beginning of a PNG file, with a colour type such as 6 for four channels."""
    start = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes([0, 0, 2, 128, 0, 0, 1, 224, 8])
    return start + bytes([colour_type, 0, 0, 0]) + b"\x00" * 8


def ids(discovery: Discovery) -> list[str]:
    """Return the ids of the pairs."""
    return [pair.pair_id for pair in discovery.pairs]


def halves(discovery: Discovery) -> list[tuple[str, str]]:
    """Return the infrared and the visible key of each pair."""
    return [(pair.ir_key, pair.vis_key) for pair in discovery.pairs]
