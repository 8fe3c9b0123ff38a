"""The description of an export with the names of YOLO: `data.yaml`."""

from __future__ import annotations

import json
from collections.abc import Sequence

DATA_KEY = "data.yaml"
_IMAGES = "images"
_SPLITS = {"train": ("train",), "val": ("val", "valid", "test"), "test": ("test",)}
"""Folders of each split by the beginnings of their names, of which the first that exists counts."""


def describe_dataset(folders: Sequence[str], collection: str, names: Sequence[str] = ()) -> str:
    """Return the text of `data.yaml`, which YOLO trains from.

    Args:
        folders: Folders of the images, which begin with `images`.
        collection: Name of the collection.
        names: Names of the classes.

    >>> print(describe_dataset(["images/train", "images/test"], "LLVIP", ["person"]))
    # LLVIP, fused by irfuse
    path: .
    train: "images/train"
    val: "images/test"
    test: "images/test"
    names:
      0: "person"
    <BLANKLINE>
    """
    tops = sorted({"/".join(f.split("/")[:2]) for f in folders if f.split("/")[0] == _IMAGES})
    lines = [f"# {json.dumps(collection)[1:-1]}, fused by irfuse", "path: ."]
    for split, beginnings in _SPLITS.items():
        folder = _folder(tops, beginnings)
        if folder is not None or split != "test":
            lines.append(f"{split}: {json.dumps(folder or _IMAGES)}")
    lines.append("names:" if names else "names: []")
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]
    return "\n".join(lines) + "\n"


def _folder(tops: Sequence[str], beginnings: Sequence[str]) -> str | None:
    for beginning in beginnings:
        for top in tops:
            if top.partition("/")[2].lower().startswith(beginning):
                return top
    return None
