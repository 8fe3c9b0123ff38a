"""One PNG file per pair, with RGB and infrared as its fourth channel, as in MFNet."""

from __future__ import annotations

from cluster.collections.layouts.unmatched import Unmatched
from cluster.collections.names import natural_order

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_COLOUR_TYPE_AT = 25
_FOUR_CHANNELS = 6


def match(images: Unmatched) -> None:
    """Take the PNG files of each folder whose first PNG has four channels.

    Folders are looked into only if no other layout matched. If the layout was selected by name,
    the PNG files of all folders are taken unread.
    """
    if not images.by_name and (images.pairs or images.read_head is None):
        return
    for folder, stems in images.folders.items():
        pngs = {stem: png for stem, formats in stems.items() if (png := _png(formats))}
        if pngs and (images.by_name or _is_four_channel(images, folder, pngs)):
            for stem, extension in pngs.items():
                images.take_whole(folder, stem, extension)


def find_first_pngs(images: Unmatched, first: dict[str, str]) -> None:
    """Note the first PNG file of each folder, unless an earlier one is known."""
    for folder, stems in images.folders.items():
        pngs = {stem: png for stem, formats in stems.items() if (png := _png(formats))}
        if pngs:
            stem = min(pngs, key=natural_order)
            key = f"{folder}{stem}.{pngs[stem]}"
            known = first.get(folder)
            if known is None or _stem_order(key) < _stem_order(known):
                first[folder] = key


def _stem_order(key: str) -> tuple[str, str]:
    return natural_order(key.rpartition("/")[2].rpartition(".")[0])


def _is_four_channel(images: Unmatched, folder: str, pngs: dict[str, str]) -> bool:
    """Whether the first PNG of a folder has four channels."""
    first = min(pngs, key=natural_order)
    head = images.read_head(f"{folder}{first}.{pngs[first]}") if images.read_head else b""
    colour_type = head[_COLOUR_TYPE_AT : _COLOUR_TYPE_AT + 1]
    return head.startswith(_PNG_START) and colour_type == bytes([_FOUR_CHANNELS])


def _png(formats: tuple[str, ...]) -> str | None:
    """Return the extension of an image's PNG, as spelt."""
    return next((extension for extension in formats if extension.casefold() == "png"), None)
