"""Pairs that the user names by one pattern for the infrared and one for the visible images."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product

from cluster.collections import names as naming
from cluster.collections.layouts.finding import Discovery
from cluster.collections.layouts.globs import Glob
from cluster.collections.layouts.unmatched import Pair
from fusion_core.errors import ManifestError

PATTERNS = "patterns"
"""Name of this way to find pairs, beside those of the layouts."""
OUTSIDE = "matches neither --ir nor --vis"

_CHOSEN = (naming.LABELS, naming.OTHER_SIZE)
"""Reasons to ignore a file that do not hold if a pattern matches it."""
_Side = dict[str, list[str]]
"""Keys of one modality by the text in place of the wildcards."""


def find_by_patterns(keys: Iterable[str], ir: str, vis: str) -> Discovery:
    """Find the pairs in whose names the wildcards stand for the same text, letter case aside.

    With two equal patterns, each file is a pair by itself, with infrared as its fourth channel.

    Args:
        keys: Paths relative to the collection, with `/` between folders, in any order.
        ir: Pattern of the infrared images.
        vis: Pattern of the visible images.

    Raises:
        ManifestError: A pattern matches no image, or both patterns match an image.
    """
    ignored: defaultdict[str, list[str]] = defaultdict(list)
    sides = _sort_in(keys, (Glob(ir), Glob(vis)), ignored)
    pairs, single = [], list[str]()
    used = set[str](), set[str]()
    for names in _partners(*sides):
        pairs.append(_pair(*sides, *names))
        for own, name in zip(used, names, strict=True):
            own.add(name)
    chosen = {key for pair in pairs for key in (pair.ir_key, pair.vis_key)}
    for side, own in zip(sides, used, strict=True):
        for name, found in side.items():
            rest = [key for key in found if key not in chosen]
            (ignored[naming.OTHER_FORMAT] if name in own else single).extend(rest)
    return Discovery(
        sorted(pairs, key=lambda pair: naming.natural_order(pair.pair_id)),
        {PATTERNS: len(pairs)} if pairs else {},
        sorted(single, key=naming.natural_order),
        {reason: len(found) for reason, found in ignored.items() if found},
        ignored_examples={reason: found[0] for reason, found in ignored.items() if found},
    )


def _sort_in(
    keys: Iterable[str], globs: tuple[Glob, Glob], ignored: defaultdict[str, list[str]]
) -> tuple[_Side, _Side]:
    """Return the infrared and the visible images, and add all others to `ignored`."""
    sides = _Side(), _Side()
    for key in sorted(set(keys)):
        names = [glob.name_of(key) for glob in globs]
        reason = _why_ignore(key, matched=any(name is not None for name in names))
        if reason is not None:
            ignored[reason].append(key)
            continue
        if None not in names and globs[0].text != globs[1].text:
            raise ManifestError(
                f"--ir {globs[0].text!r} and --vis {globs[1].text!r} both match {key}"
            )
        for side, name in zip(sides, names, strict=True):
            if name is not None:
                side.setdefault(name, []).append(key)
    _check(globs, sides, ignored[OUTSIDE])
    return sides


def _why_ignore(key: str, *, matched: bool) -> str | None:
    cut = key.rfind("/") + 1
    reasons = [naming.why_ignore_folder(key[:cut]), naming.why_ignore_file(key[cut:])]
    hold = [reason for reason in reasons if reason and not (matched and reason in _CHOSEN)]
    return hold[0] if hold else None if matched else OUTSIDE


def _check(globs: tuple[Glob, Glob], sides: tuple[_Side, _Side], others: list[str]) -> None:
    """Require that each pattern matches an image.

    Raises:
        ManifestError: A pattern matches none; the message names an image that there is.
    """
    for option, glob, side in zip(("--ir", "--vis"), globs, sides, strict=True):
        if not side:
            seen = others or [key for other in sides for keys in other.values() for key in keys]
            example = f", which contains images such as {seen[0]}" if seen else ""
            raise ManifestError(
                f"No image matches {option} {glob.text!r}, which is relative to the source{example}"
            )


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
