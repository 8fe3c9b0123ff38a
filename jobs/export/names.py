"""Names of the files of an export, which are checked before anything is written."""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from cluster.collections import PairRow, mirrored_name, own_name
from cluster.collections.fused_names import below
from cluster.storage import split_query
from fusion_core.errors import InvalidValueError
from fusion_core.suggestions import unknown_name
from jobs.options import Preset

RESERVED = "_irfuse"
"""Folder of the records of an export."""
FIELDS = ("pair_id", "subset", "stem", "ir_stem", "vis_stem", "vis_dir", "ext")
_LONGEST_NAME = 255
"""Bytes of a file name, on most file systems."""
_NO_NAMES = frozenset(("", ".", ".."))
_CONTROL = re.compile(r"[\x00-\x1f]")
_MOST_NAMED = 3
_YOLO = "images/{subset}/{stem}.{ext}"

Namer = Callable[[PairRow, str], str]
"""Function from a pair and the extension of its image to the key of its file."""


def namer_of(preset: Preset, template: str | None, root: str) -> Namer:
    """Return the function that names the files of an export.

    Args:
        preset: Names to use without a template.
        template: Names with fields in braces.
        root: Location of the collection, to which paths are relative.

    Raises:
        InvalidValueError: The template has an unknown field.
    """
    if template is None and preset == "mirror":
        return lambda pair, ext: f"{mirrored_name(pair, root)}.{ext}"
    if template is None and preset == "pair-id":
        return lambda pair, ext: f"{pair.pair_id}.{ext}"
    text = _YOLO if template is None else template
    _check_template(text)
    if "{ext}" not in text:
        text += ".{ext}"

    def name(pair: PairRow, ext: str) -> str:
        filled = text.format(**_fields(pair, root), ext=ext)
        return "/".join(part for part in filled.split("/") if part)

    return name


def _check_template(text: str) -> None:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InvalidValueError(f"--name {text!r}: {error}") from None
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise InvalidValueError(f"--name {text!r}: {unknown_name('field', field, FIELDS)}")


def _fields(pair: PairRow, root: str) -> dict[str, str]:
    ir, vis = (posixpath.splitext(uri)[0] for uri in (pair.ir_uri, pair.vis_uri))
    return {
        "pair_id": pair.pair_id,
        "subset": pair.subset,
        "stem": own_name(pair),
        "ir_stem": posixpath.basename(ir),
        "vis_stem": posixpath.basename(vis),
        "vis_dir": posixpath.dirname(below(pair.vis_uri, root)),
    }


def source_keys(
    pair: PairRow, fused_key: str, *, preset: Preset | None, root: str
) -> dict[str, str]:
    """Return the keys of the copies of a pair's sources, and the location of each.

    Args:
        pair: The pair as the manifest has it.
        fused_key: Key of the fused image.
        preset: Names of the files; None for a template.
        root: Location of the collection.
    """
    sources = pair.sources
    if preset == "mirror":
        return {below(split_query(uri)[0], root): uri for uri in sources.values()}
    if pair.ir_uri == pair.vis_uri:
        further = {kind: uri for kind, uri in sources.items() if uri != pair.ir_uri}
        sources = {"both": pair.ir_uri, **further}
    name = posixpath.splitext(fused_key)[0]
    return {
        f"sources/{kind}/{name}{posixpath.splitext(split_query(uri)[0])[1]}": uri
        for kind, uri in sources.items()
    }


def check_key(key: str, pair_id: str) -> None:
    """Check that a file name stays in the folder of the export, and can be the name of a file.

    Raises:
        InvalidValueError: It cannot; the message names the pair.
    """
    parts = key.split("/")
    problem = ""
    if not _NO_NAMES.isdisjoint(parts):
        problem = "is outside of OUT or has an empty part"
    elif parts[0] == RESERVED:
        problem = f"is in {RESERVED}, the folder of the export's own files"
    elif max(map(len, key.encode().split(b"/"))) > _LONGEST_NAME:
        problem = f"has a part of more than {_LONGEST_NAME} bytes"
    elif _CONTROL.search(key):
        problem = "has control characters"
    if problem:
        raise InvalidValueError(
            f"The pair {pair_id!r} would be the file {key!r}, which {problem}; use another "
            "--preset, or --name"
        )


class UniqueNames:
    """Detects files of one name with eight bytes per file."""

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, names: list[str]) -> None:
        """Add the names of further files."""
        # Python's hash of strings has a random key, so collisions cannot be provoked.
        self._hashes.append(np.fromiter(map(hash, names), np.int64, len(names)))

    def check(self, again: Callable[[], Iterable[tuple[str, str]]], remedy: str) -> None:
        """Check that no name is repeated.

        Args:
            again: Function that returns `pair_id` and name of every file once more.
            remedy: What the user can do if names are repeated.

        Raises:
            InvalidValueError: Names are repeated; the message names some with their pairs.
        """
        hashes = np.sort(np.concatenate([np.empty(0, np.int64), *self._hashes]))
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not suspects:
            return
        found: dict[str, list[str]] = {}
        for pair_id, name in again():
            if hash(name) in suspects:
                found.setdefault(name, []).append(pair_id)
        repeated = {name: ids for name, ids in found.items() if len(ids) > 1}
        if repeated:
            texts = [
                f"{name!r} for {', '.join(map(repr, ids[:_MOST_NAMED]))}"
                for name, ids in list(repeated.items())[:_MOST_NAMED]
            ]
            raise InvalidValueError(
                f"{len(repeated)} file names belong to more than one pair, such as "
                f"{'; '.join(texts)}; {remedy}"
            )
