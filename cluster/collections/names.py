"""Names of files and folders in a collection: formats, subsets, and what is ignored."""

from __future__ import annotations

import re
import unicodedata

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
_LABEL_FOLDERS = frozenset({
    "label", "labels", "mask", "masks", "annotation", "annotations", "gt", "ground_truth",
    "groundtruth", "segmentation_visualize", "annotated_thermal_8_bit",
})  # fmt: skip
_LABEL_FOLDER_ENDS = ("_labels", "-labels", "_masks", "-masks", "_annotations", "-annotations")
_LABEL_STEMS = frozenset({"label", "labels", "mask", "masks", "annotation", "annotations", "gt"})
_LABEL_STEM_ENDS = tuple(
    mark + word for mark in "_-" for word in ("mask", "masks", "label", "labels", "gt")
)

_DIGITS = re.compile(r"[0-9]+")


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
    return "/".join(part for part in parts if part and not is_neutral_folder(part))


def is_neutral_folder(name: str) -> bool:
    """Whether a folder is named for images of any kind, such as `images`."""
    return name.casefold() in _NEUTRAL_FOLDERS


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
    start = key.rfind("/") + 1
    reason = why_ignore_folder(key[:start])
    return why_ignore_file(key[start:]) is None and reason in (None, OTHER_SIZE)
