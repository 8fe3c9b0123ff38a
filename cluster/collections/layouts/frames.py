"""Numbered frames in sister folders, marked by a letter: `infrared/00001i` and `visible/00001v`."""

from __future__ import annotations

import re

from cluster.collections.layouts.folders import match_in_sisters
from cluster.collections.layouts.unmatched import Unmatched
from cluster.collections.layouts.words import Modality

_FRAMES: dict[Modality, re.Pattern[str]] = {
    "ir": re.compile(r"i?([0-9]+)|([0-9]+)i", re.IGNORECASE),
    "vis": re.compile(r"v?([0-9]+)|([0-9]+)v", re.IGNORECASE),
}


def match(images: Unmatched) -> None:
    """Match the numbers of frames, with the letter of their modality or without one."""
    match_in_sisters(images, _number)


def _number(modality: Modality, stem: str) -> str | None:
    frame = _FRAMES[modality].fullmatch(stem)
    return None if frame is None else frame[1] or frame[2]
