"""Splits of pairs into training, validation and test, from text files that name them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from cluster.collections import FrozenManifest, PairRow, find_labels, is_image
from fusion_core.errors import InvalidValueError, NotFoundError
from fusion_core.wording import count_of
from jobs.export.labels import labelled_pairs
from jobs.options import ExportOptions

_KNOWN = {"train": "train", "val": "val", "test": "test"}
"""Names of splits by their beginnings: `validation` and `valid` are `val`."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The split of each pair."""

    names: dict[str, str] | None = None
    """The split by `pair_id`, of the pairs that have one; None for the subsets."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Number of lines of each file that name no pair."""

    @property
    def digest(self) -> str | None:
        """Digest of the splits; None for the subsets."""
        if self.names is None:
            return None
        text = "\n".join(f"{pair_id}\t{name}" for pair_id, name in sorted(self.names.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, pair: PairRow) -> PairRow | None:
        """Return a pair with its split in place of the subset, or None if it is in no split."""
        if self.names is None:
            return pair
        name = self.names.get(pair.pair_id)
        return None if name is None else replace(pair, subset=name)


def open_splits(
    choices: Sequence[str], options: ExportOptions, manifest: FrozenManifest, root: str
) -> Splits:
    """Read the files that name the pairs of the splits.

    Args:
        choices: Locations of the files. The lines of a file are `NAME SPLIT`, or `NAME` in a file
            whose own name says which split it is. A `NAME` is the `pair_id`, or the path or name of
            an image, as for labels.
        options: Options of the export.
        manifest: The pairs of the run.
        root: Location of the collection.

    Raises:
        InvalidValueError: A pair is in two splits.
        NotFoundError: A file does not exist, or names no pair of the run.
        StorageError: A file cannot be read.
    """
    if not choices:
        return Splits()
    pairs = labelled_pairs(manifest, root)
    names, unknown = dict[str, str](), dict[str, int]()
    for choice in choices:
        folder, key = options.file(choice)
        default = split_name(posixpath.splitext(key)[0])
        text = folder.read(key).decode("utf-8-sig", errors="replace")
        lines = dict[str, str]()
        for name, split in _parse_lines(text.splitlines(), default):
            _place(name, split, lines, _as_label(name, root))
        found = find_labels(lines, pairs, only=True).keys
        if not found:
            raise NotFoundError(
                f"--split {choice} names no pair of the run in its {len(lines)} lines; a line is "
                "the pair_id or the name of an image, and may be followed by the split"
            )
        unknown[choice] = len(lines) - len(set(found.values()))
        for pair_id, line in found.items():
            _place(pair_id, lines[line], names, pair_id)
    return Splits(names, {choice: count for choice, count in unknown.items() if count})


def _place(name: str, split: str, splits: dict[str, str], key: str) -> None:
    """Note the split of a pair or line, which must not be in another one."""
    if splits.setdefault(key, split) != split:
        raise InvalidValueError(
            f"{name!r} is in the splits {splits[key]!r} and {split!r}; remove it from one "
            "of them in the files of --split"
        )


def unknown_lines(splits: Splits) -> list[str]:
    """Return what the user should know of lines that name no pair."""
    return [
        f"{count_of(count, 'line')} of {choice} {'names' if count == 1 else 'name'} no pair"
        for choice, count in splits.unknown.items()
    ]


def split_name(text: str) -> str:
    """Return the name of a split: `train`, `val` or `test` if a word begins so.

    >>> split_name("align_validation"), split_name("night 2")
    ('val', 'night_2')
    """
    words = re.split(r"[^a-z]+", text.lower())
    found = (name for word in words for start, name in _KNOWN.items() if word.startswith(start))
    return next(found, re.sub(r"\W+", "_", text))


def _parse_lines(lines: Sequence[str], default: str) -> Iterator[tuple[str, str]]:
    """Yield name and split of each line; comments begin with `#`."""
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        columns = re.fullmatch(r"(.+?)[\s,]+(train|training|val|valid|validation|test)", text)
        if columns is None:
            yield text, default
        else:
            yield columns[1], split_name(columns[2])


def _as_label(name: str, root: str) -> str:
    """Return a line as the name of a label, which is matched with the names of pairs."""
    name = name.removeprefix(f"{root}/").removeprefix("./")
    return f"{posixpath.splitext(name)[0] if is_image(name) else name}.txt"
