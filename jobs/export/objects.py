"""Boxes of labelled objects, from label files of YOLO, Pascal VOC and COCO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from xml.etree import ElementTree

from fusion_core.errors import ManifestError

_YOLO_WORDS = (5, 6)
"""Words of a line with a box; the sixth is the confidence of a detector."""
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Objects(TypedDict):
    """The objects of an image."""

    bbox: list[list[float]]
    """Left, top, width and height of each box in pixels."""
    category: list[str]
    """Category of each object."""


def read_objects(
    data: bytes, extension: str, *, width: int, height: int, classes: Sequence[str], name: str
) -> Objects:
    """Return the objects of a label file.

    Args:
        data: The file.
        extension: `txt` for YOLO, with a class number and the relative centre and size of a box in
            each line; `xml` for Pascal VOC; `json` for COCO.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        classes: Names of the class numbers; those without a name are `class0`, `class1`, ….
        name: What the file is, for messages.

    Raises:
        ManifestError: The file is not of this kind.

    >>> read_objects(b"0 .5 .5 .5 .2", "txt", width=100, height=50, classes=["car"], name="a.txt")
    {'bbox': [[25.0, 20.0, 50.0, 10.0]], 'category': ['car']}
    """
    try:
        if extension == "xml":
            return _from_voc(data)
        if extension == "json":
            return _from_coco(json.loads(data))
        return _from_yolo(data.decode(), width, height, classes)
    except (ValueError, TypeError, KeyError, ElementTree.ParseError) as error:
        raise ManifestError(f"The label {name} cannot be read: {error}") from None


def _from_yolo(text: str, width: int, height: int, classes: Sequence[str]) -> Objects:
    objects = Objects(bbox=[], category=[])
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) not in _YOLO_WORDS:
            raise ValueError(
                f"expected a class and four numbers in each line, but got {len(words)} words; "
                "polygons and keypoints are no boxes, and --labels none leaves them out"
            )
        number = int(words[0])
        x, y, w, h = map(float, words[1:5])
        objects["bbox"].append([(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])
        known = number < len(classes)
        objects["category"].append(classes[number] if known else f"class{number}")
    return objects


def _from_voc(data: bytes) -> Objects:
    objects = Objects(bbox=[], category=[])
    for found in ElementTree.fromstring(data).iter("object"):
        left, top, right, bottom = (float(found.findtext(f"bndbox/{c}") or "") for c in _CORNERS)
        objects["bbox"].append([left, top, right - left, bottom - top])
        objects["category"].append(found.findtext("name") or "")
    return objects


def _from_coco(content: Mapping[str, Any]) -> Objects:
    names = {one["id"]: one["name"] for one in content.get("categories", ())}
    boxes, categories = list[list[float]](), list[str]()
    for one in content["annotations"]:
        if "bbox" in one:
            left, top, width, height = map(float, one["bbox"])
            boxes.append([left, top, width, height])
            number = one["category_id"]
            categories.append(str(names.get(number, f"class{number}")))
    return Objects(bbox=boxes, category=categories)
