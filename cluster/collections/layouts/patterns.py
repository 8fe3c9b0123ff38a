"""Pairs that the user names by one pattern for the infrared and one for the visible images."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from cluster.collections import names as naming
from cluster.collections.layouts.division import File
from cluster.collections.layouts.gathering import Discovery, Found, Watch, gather
from cluster.collections.layouts.globs import Glob
from cluster.collections.layouts.ignored import OTHER_FORMATS, Ignored
from cluster.collections.layouts.unmatched import Pair
from cluster.collections.spool import RECORDS_AT_ONCE, Parts, bucket_of
from fusion_core.errors import ManifestError

PATTERNS = "patterns"
"""Name of this way to find pairs, beside those of the layouts."""
OUTSIDE = "matches neither --ir nor --vis"

_CHOSEN = (naming.LABELS, naming.OTHER_SIZE)
"""Reasons to ignore a file that do not hold if a pattern matches it."""
_Side = dict[str, list[str]]
"""Keys of one modality by the text in place of the wildcards."""


def find_by_patterns(
    keys: Iterable[str], ir: str, vis: str, *, at_once: int = RECORDS_AT_ONCE
) -> Discovery:
    """Find the pairs in whose names the wildcards stand for the same text, letter case aside.

    With two equal patterns, each file is a pair by itself, with infrared as its fourth channel.

    Args:
        keys: Paths relative to the collection, with `/` between folders, in any order.
        ir: Pattern of the infrared images.
        vis: Pattern of the visible images.
        at_once: Number of files that are in memory together.

    Raises:
        ManifestError: A pattern matches no image, or both patterns match an image.
    """
    patterns = Patterns(ir, vis)
    return patterns.find(patterns.divide(((key, 0) for key in keys), at_once))


class Patterns:
    """A pattern for the infrared and one for the visible images.

    Args:
        ir: Pattern of the infrared images.
        vis: Pattern of the visible images.
    """

    def __init__(self, ir: str, vis: str) -> None:
        self._globs = Glob(ir), Glob(vis)

    def divide(self, files: Iterable[File], at_once: int = RECORDS_AT_ONCE) -> Parts[File]:
        """Return the files of a collection, in parts if there are many."""
        divided = Parts[File](self._bucket, at_once)
        for file in files:
            divided.add(file)
        return divided

    def _bucket(self, file: File) -> int:
        names = (glob.name_of(file[0]) for glob in self._globs)
        return bucket_of(naming.fold(next((name for name in names if name is not None), file[0])))

    def find(self, files: Parts[File], watch: Watch | None = None) -> Discovery:
        """Find the pairs among files that may be divided, as `find_by_patterns` does.

        Args:
            files: The result of `divide`.
            watch: Told of each part and its pairs.

        Raises:
            ManifestError: A pattern matches no image, or both patterns match an image.
        """
        matches = _Matches(self._globs)
        found = gather(files, matches.match, watch)
        matches.check(found.ignored_examples.get(OUTSIDE))
        return found


class _Matches:
    """Finds the pairs of each part, and keeps the first image of either pattern."""

    def __init__(self, globs: tuple[Glob, Glob]) -> None:
        self._globs = globs
        self._first: list[str | None] = [None, None]

    def match(self, part: Sequence[File]) -> Found:
        """Find the pairs of a part.

        Raises:
            ManifestError: Both patterns match an image.
        """
        ignored = Ignored()
        sides = self._sort_in(sorted({key for key, _ in part}), ignored)
        pairs, single = [], list[str]()
        used = set[str](), set[str]()
        for names in _partners(*sides):
            pairs.append(_pair(*sides, *names))
            for own, name in zip(used, names, strict=True):
                own.add(name)
        chosen = {key for pair in pairs for key in (pair.ir_key, pair.vis_key)}
        for side, own in zip(sides, used, strict=True):
            for name, found in side.items():
                for key in found:
                    if key in chosen:
                        continue
                    if name in own:
                        ignored.add(naming.OTHER_FORMAT, key, stage=OTHER_FORMATS)
                    else:
                        single.append(key)
        return Found(pairs, single, {PATTERNS: len(pairs)}, ignored)

    def _sort_in(self, keys: Iterable[str], ignored: Ignored) -> tuple[_Side, _Side]:
        """Return the infrared and the visible images, and add all others to `ignored`."""
        sides = _Side(), _Side()
        for key in keys:
            names = [glob.name_of(key) for glob in self._globs]
            reason = _why_ignore(key, matched=any(name is not None for name in names))
            if reason is not None:
                ignored.add(reason, key)
                continue
            if None not in names and self._globs[0].text != self._globs[1].text:
                ir, vis = (repr(glob.text) for glob in self._globs)
                raise ManifestError(f"--ir {ir} and --vis {vis} both match {key}")
            for number, name in enumerate(names):
                if name is not None:
                    sides[number].setdefault(name, []).append(key)
                    self._first[number] = min(key, self._first[number] or key)
        return sides

    def check(self, outside: str | None) -> None:
        """Require that each pattern matches an image.

        Args:
            outside: An image that no pattern matches.

        Raises:
            ManifestError: A pattern matches none; the message names an image that there is.
        """
        for option, glob, first in zip(("--ir", "--vis"), self._globs, self._first, strict=True):
            if first is None:
                seen = outside or next((key for key in self._first if key), None)
                example = f", which contains images such as {seen}" if seen else ""
                raise ManifestError(
                    f"No image matches {option} {glob.text!r}, which is relative to the "
                    f"source{example}"
                )


def _why_ignore(key: str, *, matched: bool) -> str | None:
    cut = key.rfind("/") + 1
    reasons = [naming.why_ignore_folder(key[:cut]), naming.why_ignore_file(key[cut:])]
    hold = [reason for reason in reasons if reason and not (matched and reason in _CHOSEN)]
    return hold[0] if hold else None if matched else OUTSIDE


def _partners(irs: _Side, vis: _Side) -> Iterator[tuple[str, str]]:
    """Yield the names of each pair, those of identical spelling first."""
    alike = irs.keys() & vis.keys()
    yield from ((name, name) for name in sorted(alike))
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(vis.keys() - alike):
        waiting[naming.fold(name)].append(name)
    for name in sorted(irs.keys() - alike):
        if others := waiting.get(naming.fold(name)):
            yield name, others.pop(0)


def _pair(irs: _Side, vis: _Side, ir_name: str, vis_name: str) -> Pair:
    ir_key, vis_key = min(product(irs[ir_name], vis[vis_name]), key=_format_cost)
    pair_id = ir_name or posixpath.splitext(posixpath.basename(ir_key))[0]
    return Pair(pair_id, ir_key, vis_key, naming.folder_subset(pair_id.split("/")[:-1]))


def _format_cost(keys: tuple[str, str]) -> tuple[bool, int, int]:
    ir, vis = (naming.FORMAT_RANK[key.rpartition(".")[2].casefold()] for key in keys)
    return ir != vis, ir, vis
