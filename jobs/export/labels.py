"""Labels of exported pairs: where they are, where they go, and what is rewritten in them."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from xml.sax.saxutils import escape

from cluster.collections import (
    FrozenManifest,
    LabelledPair,
    PairRow,
    find_labels,
    label_folder,
    mirrored_name,
)
from cluster.collections.fused_names import below
from cluster.storage import Store, split_query
from fusion_core.errors import NotFoundError
from jobs.export.coco import CocoFile, find_coco_files
from jobs.options import Preset

_VOC = re.compile(rb"(<(filename|path)>)[^<]*(</(?:filename|path)>)")
_YOLO = "txt"
COCO = "coco"
"""What a label that a COCO file contains has the stem of; see `LabelFile.source`."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The label file of a pair."""

    uri: str
    """Its location."""
    folder: str
    """Name of its folder, which exported labels keep."""
    source: str
    """What has its stem: `both` images, the `infrared` or the `visible` one, the `pair`, or
    `other`; or `coco` for the part of a COCO file."""

    @property
    def extension(self) -> str:
        """Its extension."""
        return posixpath.splitext(split_query(self.uri)[0])[1][1:].lower()


@dataclass(frozen=True, slots=True)
class LabelFinder:
    """Finds the labels of pairs."""

    find: Callable[[PairRow], LabelFile | None]
    """Function that returns the label file of a pair, as the manifest has it, or None; it can be
    pickled."""
    coco: Sequence[CocoFile] = ()
    """COCO files, if pairs have no label files."""


def open_labels(choice: str, folder: Store, manifest: FrozenManifest, root: str) -> LabelFinder:
    """Return what finds the labels of pairs.

    Args:
        choice: `auto` for those of the manifest, `none`, or a folder.
        folder: The folder, if `choice` is one.
        manifest: The pairs of the run.
        root: Location of the collection.

    Raises:
        NotFoundError: The folder is missing, or holds no label of a pair.
        StorageError: The folder cannot be read.
    """
    if choice == "none":
        return LabelFinder(_no_label)
    if choice == "auto":
        return LabelFinder(_of_manifest)
    keys = [entry.key for entry in folder.entries()]
    pairs = labelled_pairs(manifest, root)
    labels = find_labels(keys, pairs, only=True).keys
    coco = [] if labels else list(find_coco_files(folder, keys, pairs))
    if not (labels or coco):
        raise NotFoundError(
            f"--labels {folder.url} holds no label of the run's pairs among its {len(keys)} files; "
            "labels have the names of the pairs or of their images, or are COCO files"
        )
    return LabelFinder(partial(_in_folder, folder, labels), coco)


def _no_label(pair: PairRow) -> None:
    return None


def _in_folder(folder: Store, labels: Mapping[str, str], pair: PairRow) -> LabelFile | None:
    key = labels.get(pair.pair_id)
    if key is None:
        return None
    return LabelFile(folder.uri(key), posixpath.basename(folder.url), _owner(key, pair))


def _of_manifest(pair: PairRow) -> LabelFile | None:
    if not pair.label_uri:
        return None
    path = split_query(pair.label_uri)[0]
    return LabelFile(pair.label_uri, label_folder(path), _owner(path, pair))


def labelled_pairs(manifest: FrozenManifest, root: str) -> list[LabelledPair]:
    """Return what the labels of all pairs are found by."""
    found = []
    for batch in manifest.batches():
        columns = (batch.column(name) for name in ("pair_id", "ir_uri", "vis_uri", "subset"))
        pairs = map(PairRow, *(column.to_pylist() for column in columns))
        found += [_labelled(pair, root) for pair in pairs]
    return found


def _labelled(pair: PairRow, root: str) -> LabelledPair:
    ir, vis = (below(split_query(uri)[0], root) for uri in (pair.ir_uri, pair.vis_uri))
    return LabelledPair(pair.pair_id, ir, vis, pair.subset)


def _owner(path: str, pair: PairRow) -> str:
    """Return what of a pair has the stem of its label."""
    stem = posixpath.splitext(posixpath.basename(path))[0].casefold()
    return _labelled(pair, "").stems().get(stem, "other")


def label_key(
    label: LabelFile, pair: PairRow, fused_key: str, *, preset: Preset | None, root: str
) -> str:
    """Return the key of an exported label: that of its image in a folder beside it.

    Args:
        label: The label.
        pair: Its pair.
        fused_key: Key of the fused image.
        preset: Names of the files; None for a template.
        root: Location of the collection.
    """
    extension, name = label.extension, posixpath.splitext(fused_key)[0]
    if preset == "mirror":
        return f"{mirrored_name(pair, root, label.folder)}.{extension}"
    if preset == "yolo":
        name = name.partition("/")[2]  # without `images`
        return f"{'labels' if extension == _YOLO else label.folder}/{name}.{extension}"
    return f"{label.folder}/{name}.{extension}"


def rewrite_label(data: bytes, extension: str, fused_key: str) -> bytes:
    """Return a label file that names the fused image; masks and YOLO files name none.

    Args:
        data: The file. In XML of Pascal VOC, `filename` and `path` are replaced; in JSON of
            labelme, `imagePath` is, and `imageData` is removed.
        extension: Its extension.
        fused_key: Key of the fused image.

    >>> rewrite_label(b"<annotation><filename>1.jpg</filename></annotation>", "xml", "fused/1.png")
    b'<annotation><filename>1.png</filename></annotation>'
    """
    if extension == "xml":
        values = {b"filename": posixpath.basename(fused_key), b"path": fused_key}
        return _VOC.sub(lambda m: m[1] + escape(values[m[2]]).encode() + m[3], data)
    if extension == "json":
        try:
            content = json.loads(data)
        except ValueError:
            return data
        if isinstance(content, dict) and "imagePath" in content:
            changed = {**content, "imagePath": posixpath.basename(fused_key), "imageData": None}
            return json.dumps(changed, indent=2).encode()
    return data


def largest_class(data: bytes) -> int | None:
    r"""Return the largest class number in a label file of YOLO, or None if there is none.

    >>> largest_class(b"0 .5 .5 .1 .1\n3 .2 .2 .1 .1\n")
    3
    """
    firsts = (line.split()[0] for line in data.splitlines() if line.strip())
    return max((int(first) for first in firsts if first.isdigit()), default=None)
