"""COCO files, of which each holds the labels of many images: rewritten, or split by pairs."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.collections import LabelledPair, find_labels
from cluster.storage import Store
from fusion_core.errors import StorageError


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO file."""

    store: Store
    key: str
    names: Mapping[str, str]
    """The `file_name` of a pair's image by `pair_id`."""

    @property
    def exported_key(self) -> str:
        """Key of the exported file."""
        return f"{posixpath.basename(self.store.url)}/{self.key}"

    @property
    def uri(self) -> str:
        """Its location."""
        return self.store.uri(self.key)

    def read(self) -> dict[str, Any]:
        """Return its content.

        Raises:
            StorageError: It has changed and is no COCO file any more.
        """
        content = _read_coco(self.store, self.key)
        if content is None:
            raise StorageError(f"{self.uri} is not a COCO file any more")
        return content


class CocoAnnotations:
    """The annotations of single pairs.

    Args:
        files: The files, of which the first one that holds an image of a pair counts.

    Raises:
        StorageError: A file is no COCO file any more.
    """

    def __init__(self, files: Sequence[CocoFile]) -> None:
        self._found: dict[str, tuple[CocoFile, dict[str, Any]]] = {}
        for file in reversed(files):
            content = file.read()
            others = {k: v for k, v in content.items() if k not in ("images", "annotations")}
            images = {image["file_name"]: image for image in content["images"]}
            annotations: dict[Any, list[Any]] = {}
            for one in content["annotations"]:
                annotations.setdefault(one.get("image_id"), []).append(one)
            for pair_id, name in file.names.items():
                image = images.get(name)
                if image is not None:
                    own = {"images": [image], "annotations": annotations.get(image["id"], [])}
                    self._found[pair_id] = file, {**others, **own}

    def find(self, pair_id: str, file_name: str) -> tuple[str, bytes] | None:
        """Return the location of the file that has annotated a pair, and the part for this pair.

        Args:
            pair_id: The pair.
            file_name: New `file_name` of its image.
        """
        if pair_id not in self._found:
            return None
        file, content = self._found[pair_id]
        images = [{**image, "file_name": file_name} for image in content["images"]]
        return file.uri, json.dumps({**content, "images": images}).encode()


def find_coco_files(
    folder: Store, keys: Iterable[str], pairs: Sequence[LabelledPair]
) -> Iterable[CocoFile]:
    """Yield the COCO files that hold images of pairs; these are matched like label files."""
    for key in keys:
        content = _read_coco(folder, key) if key.lower().endswith(".json") else None
        if content is None:
            continue
        names = {_as_label(image["file_name"]): image["file_name"] for image in content["images"]}
        found = find_labels(names, pairs, only=True).keys
        if found:
            yield CocoFile(folder, key, {pair: names[label] for pair, label in found.items()})


def _as_label(name: str) -> str:
    return f"{posixpath.splitext(name)[0]}.txt"


def _read_coco(folder: Store, key: str) -> dict[str, Any] | None:
    """Return the content of a COCO file, or None for other JSON."""
    try:
        content = json.loads(folder.read(key))
        images = content["images"]
        is_coco = all(isinstance(image["file_name"], str) and "id" in image for image in images)
    except (ValueError, TypeError, KeyError):
        return None
    return content if is_coco and isinstance(content.get("annotations"), list) else None


def rewrite_coco(file: CocoFile, fused: Mapping[str, str]) -> tuple[bytes, int]:
    """Return a COCO file for fused images, and the number of images that were dropped.

    Args:
        file: The file for the source images.
        fused: Key of the fused image by `pair_id`; images of other pairs, and images that are in no
            pair, are dropped with their annotations.

    Raises:
        StorageError: The file has changed and is no COCO file any more.
    """
    content = file.read()
    keys = {name: fused[pair] for pair, name in file.names.items() if pair in fused}
    kept = [
        {**image, "file_name": keys[image["file_name"]]}
        for image in content["images"]
        if image["file_name"] in keys
    ]
    ids = {image["id"] for image in kept}
    annotations = [one for one in content["annotations"] if one.get("image_id") in ids]
    dropped = len(content["images"]) - len(kept)
    return json.dumps({**content, "images": kept, "annotations": annotations}).encode(), dropped
