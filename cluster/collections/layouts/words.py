"""Words for infrared and visible in the names of files and folders."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Modality = Literal["ir", "vis"]

IR_WORDS, VIS_WORDS = "ir|infrared|thermal|lwir|swir|nir|fir|tir", "vi|vis|visible|rgb"
SEPARATORS = "_- "
HOLE = "\0"
"""Stands in a key for the word that was removed, so that its place matters."""

FOLDER_WORDS: dict[str, Modality] = {
    "ir": "ir", "infrared": "ir", "thermal": "ir", "lwir": "ir", "swir": "ir", "nir": "ir",
    "fir": "ir", "tir": "ir", "inf": "ir", "t": "ir", "cropinfrared": "ir", "thermal_8_bit": "ir",
    "vi": "vis", "vis": "vis", "visible": "vis", "rgb": "vis", "crop_lr_visible": "vis",
}  # fmt: skip


class Reading(NamedTuple):
    """One interpretation of a folder or stem as that of an infrared or visible image."""

    modality: Modality
    depth: int
    """Position of the modality word; equal for both images of a pair."""
    key: str
    """The name without the modality word, case-folded; equal for both images of a pair."""
    name: str
    """The name without the modality word, in its original spelling, for the pair id."""
    subset: str
    """Component that the name adds to the subset of the pair."""


def pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern whose group 1 is an infrared word, and group 2 a visible one."""
    return re.compile(text, re.IGNORECASE | re.ASCII)


def modality_of(word: re.Match[str]) -> Modality:
    """Return the modality of a match of a `pattern`."""
    return "ir" if word[1] else "vis"


NUMBERED_WORDS = re.compile(
    "|".join(word for word in FOLDER_WORDS if any(map(str.isdigit, word))), re.IGNORECASE
)
"""The words for folders that contain digits."""

_FOLDER_END = pattern(rf"[_-](?:({IR_WORDS})|({VIS_WORDS}))\Z")
_SPLIT_IMAGES = re.compile(r"(train|val|test)img(r?)", re.IGNORECASE)
"""Folders of DroneVehicle: `trainimgr` holds the infrared images, `trainimg` the visible ones."""


def folder_meaning(name: str) -> tuple[Modality | None, str]:
    """Return the modality that a folder denotes and its other text (`Train_ir`: `Train`)."""
    modality = FOLDER_WORDS.get(name.casefold())
    if modality:
        return modality, ""
    if split := _SPLIT_IMAGES.fullmatch(name):
        return ("ir" if split[2] else "vis"), split[1]
    end = _FOLDER_END.search(name)
    return (modality_of(end), name[: end.start()]) if end and end.start() else (None, name)
