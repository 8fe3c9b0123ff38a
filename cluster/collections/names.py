"""Interpretation of file and folder names in a collection: infrared, visible, or ignored."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

Modality = Literal["ir", "vis"]

SYSTEM_FILES = "Thumbs.db and system files"
RESOURCE_FORKS = "macOS resource forks (._*)"
HIDDEN = "hidden files (.*)"
LABELS = "labels, masks and annotations"
OTHER_SIZE = "crop_HR_visible (never the infrared's size)"
NOT_IMAGES = "not images"
OTHER_FORMAT = "another format of a paired image"

FORMAT_RANK = {
    "png": 0, "tif": 1, "tiff": 1, "bmp": 2, "pgm": 3, "ppm": 3, "pnm": 3, "jp2": 4, "webp": 5,
    "jpg": 6, "jpeg": 6,
}  # fmt: skip
"""Image extensions; if an image exists in two formats, the one with the lower rank is used."""

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", ".ds_store"})
_SYSTEM_FOLDERS = frozenset({"lost+found", "$recycle.bin", "system volume information"})
_NEUTRAL_FOLDERS = frozenset({"images", "image", "imgs", "img", "input", "jpegimages", "data"})
_COLOUR_FOLDERS = frozenset({"color", "colour"})
_LABEL_FOLDERS = frozenset({
    "label", "labels", "mask", "masks", "annotation", "annotations", "gt", "ground_truth",
    "groundtruth", "segmentation_visualize", "annotated_thermal_8_bit",
})  # fmt: skip
_LABEL_FOLDER_ENDS = ("_labels", "-labels", "_masks", "-masks", "_annotations", "-annotations")
_LABEL_STEMS = frozenset({"label", "labels", "mask", "masks", "annotation", "annotations", "gt"})
_LABEL_STEM_ENDS = tuple(
    mark + word for mark in "_-" for word in ("mask", "masks", "label", "labels", "gt")
)

_FOLDERS: dict[str, Modality] = {
    "ir": "ir", "infrared": "ir", "thermal": "ir", "lwir": "ir", "tir": "ir", "t": "ir",
    "cropinfrared": "ir", "thermal_8_bit": "ir",
    "vi": "vis", "vis": "vis", "visible": "vis", "rgb": "vis", "crop_lr_visible": "vis",
}  # fmt: skip
_SEPARATORS = "_- "
_IR, _VIS = "ir|infrared|thermal|lwir|tir", "vi|vis|visible|rgb"
_FLAGS = re.IGNORECASE | re.ASCII
# In each pattern group 1 is an infrared word and group 2 a visible one.
_FOLDER_END = re.compile(rf"[_-](?:({_IR})|({_VIS}))\Z", _FLAGS)
_PREFIX = re.compile(rf"(?:({_IR})|({_VIS}))(?=[_\- 0-9]|\Z)", _FLAGS)
_SUFFIX = re.compile(rf"[_\- ](?:({_IR}|t|previewdata)|({_VIS}))\Z", _FLAGS)
_INFIX = re.compile(rf"(?<=[_\- ])(?:({_IR})|({_VIS}))(?=[_\- ])", _FLAGS)
_DIGITS = re.compile(r"[0-9]+")
_HOLE = "\0"


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


def fold(text: str) -> str:
    """Return text with letter case and the composition of accents normalised."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def natural_order(text: str) -> tuple[str, str]:
    """Return a sort key that orders `2` before `10`."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(20), text), text


def folder_parts(folder: str) -> list[str]:
    """Return the components of a folder that is "" or ends in `/`."""
    return folder[:-1].split("/") if folder else []


def folder_subset(parts: list[str]) -> str:
    """Return the subset that folder components denote, without neutral ones such as `images`."""
    return "/".join(part for part in parts if part and part.casefold() not in _NEUTRAL_FOLDERS)


def folder_readings(folder: str) -> list[Reading]:
    """Return a reading for each component of a folder that denotes a modality."""
    parts = folder_parts(folder)
    readings = []
    for depth, part in enumerate(parts):
        modality, base = _folder_meaning(part)
        if modality is None:
            continue
        above, below = parts[:depth], parts[depth + 1 :]
        rest = [*above, base, *below]
        readings.append(
            Reading(
                modality,
                depth,
                key=fold("/".join([*above, base + _HOLE, *below])),
                name="".join(f"{part}/" for part in rest if part),
                subset=folder_subset(rest),
            )
        )
    return readings


def _folder_meaning(name: str) -> tuple[Modality | None, str]:
    """Return the modality that a component denotes and its other text (`Train_ir`: `Train`)."""
    modality = _FOLDERS.get(name.casefold())
    if modality:
        return modality, ""
    end = _FOLDER_END.search(name)
    return (_modality(end), name[: end.start()]) if end and end.start() else (None, name)


def prefix_readings(stem: str) -> Iterator[Reading]:
    """Yield the reading of a stem such as `IR12`, `VIS_x` or a bare `thermal`."""
    if word := _PREFIX.match(stem):
        rest = stem[word.end() :]
        yield Reading(_modality(word), 0, fold(rest), rest.lstrip(_SEPARATORS), "")


def suffix_readings(stem: str) -> Iterator[Reading]:
    """Yield the reading of a stem such as `010001_ir` or `FLIR_00002_PreviewData`."""
    word = _SUFFIX.search(stem)
    if word and word.start():
        rest = stem[: word.start()]
        # The separator is part of the key: `x_ir` belongs to `x_vi` rather than to `x-vi`.
        yield Reading(_modality(word), 0, fold(rest) + stem[word.start()], rest, "")


def infix_readings(stem: str) -> Iterator[Reading]:
    """Yield a reading for each modality word within a stem: `set00_V000_lwir_I00000`."""
    for word in _INFIX.finditer(stem):
        before, after = stem[: word.start()], stem[word.end() + 1 :]
        subset = before.rstrip(_SEPARATORS)
        if subset and after:
            key = fold(before) + _HOLE + fold(stem[word.end() :])
            yield Reading(_modality(word), word.start(), key, before + after, subset)


def _modality(word: re.Match[str]) -> Modality:
    return "ir" if word[1] else "vis"


def without_letter(reading: Reading) -> Reading:
    """Return a reading without a trailing `_` and single letter (`meting003_g`: `meting003`)."""
    name = reading.name
    if len(name) > 2 and name[-2] == "_" and name[-1].isalpha():
        name = name[:-2]
    return reading._replace(key=fold(name), name=name)


def why_ignore_folder(folder: str) -> str | None:
    """Return the reason to ignore all files below a folder, or None."""
    for part in folder_parts(folder):
        name = part.casefold()
        if name == "__macosx":
            return RESOURCE_FORKS
        if name in _SYSTEM_FOLDERS:
            return SYSTEM_FILES
        if name.startswith(".") and name not in (".", ".."):
            return HIDDEN
        if name in _LABEL_FOLDERS or name.endswith(_LABEL_FOLDER_ENDS):
            return LABELS
        if name == "crop_hr_visible":
            return OTHER_SIZE
    return None


def why_ignore_file(name: str) -> str | None:
    """Return the reason to ignore a file by its own name, or None."""
    lowered = name.casefold()
    if lowered.startswith("._"):
        return RESOURCE_FORKS
    if lowered in _SYSTEM_NAMES:
        return SYSTEM_FILES
    if lowered.startswith("."):
        return HIDDEN
    stem, _, extension = lowered.rpartition(".")
    if extension not in FORMAT_RANK or not stem:
        return NOT_IMAGES
    return LABELS if stem in _LABEL_STEMS or stem.endswith(_LABEL_STEM_ENDS) else None


def has_image_extension(key: str) -> bool:
    """Whether a path has the extension of an image."""
    return key.rpartition(".")[2].lower() in FORMAT_RANK


def is_image(key: str) -> bool:
    """Whether a path is that of a training image, and not of a label or hidden file."""
    folder, _, name = key.rpartition("/")
    return why_ignore_file(name) is None and why_ignore_folder(folder) in (None, OTHER_SIZE)


def colour_label_folders(folders: list[str]) -> set[str]:
    """Return the `color` folders with infrared and visible sibling folders, and those below them.

    FMB stores its coloured label maps in such folders.
    """
    candidates = [
        folder for folder in folders if not _COLOUR_FOLDERS.isdisjoint(fold(folder).split("/"))
    ]
    coloured = defaultdict[str, list[str]](list)
    for folder in candidates:
        for above, part in _steps(folder):
            if part.casefold() in _COLOUR_FOLDERS:
                coloured[above].append(folder)
    siblings = defaultdict[str, set[Modality | None]](set)
    for folder in folders if candidates else ():
        for above, part in _steps(folder):
            if above in coloured:
                siblings[above].add(_folder_meaning(part)[0])
    both = (above for above, found in siblings.items() if {"ir", "vis"} <= found)
    return {folder for above in both for folder in coloured[above]}


def _steps(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the folded parent path and the name of each component of a folder."""
    parts = folder_parts(folder)
    for depth, part in enumerate(parts):
        yield fold("/".join(parts[:depth])), part
